"""Which patients train and which are held out: decided by a hash of the patient, within each label.

u(patient) = SHA-256(seed, patient) as a number in [0, 1); the patient is held out where u < fraction. A patient's own
u never changes, so adding slides or patients moves nobody, but for two guarantees that small cohorts need: per label
at least one patient trains (the largest u), and of two or more at least one is held out (the smallest u). A patient who
steps in for a guarantee steps back once a newcomer fulfills it; with n patients of a label held out by the share f,
that has probability (1 - f)^n + f^n.
"""

import hashlib
from collections.abc import Mapping

TRAIN = "train"
HELD_OUT = "held_out"


def split_patients(labels: Mapping[str, str | None], *, fraction: float, seed: int) -> dict[str, str]:
    """`train` or `held_out` for each patient.

    Args:
        labels: label of each patient; None is a group of its own.
        fraction: share held out, in [0, 1); 0 holds nobody out.
        seed: another seed, another draw.
    """
    held_out: set[str] = set()
    for group in set(labels.values()):
        numbers = {patient: patient_number(patient, seed=seed) for patient in labels if labels[patient] == group}
        ranked = sorted(numbers, key=lambda patient: (numbers[patient], patient))
        count = sum(u < fraction for u in numbers.values())
        at_least = 1 if fraction > 0 else 0
        held_out.update(ranked[: min(max(count, at_least), len(ranked) - 1)])
    return {patient: HELD_OUT if patient in held_out else TRAIN for patient in labels}


def patient_number(patient: str, *, seed: int) -> float:
    """u in [0, 1), from the first 52 bits of the hash, so that it is exact in a float."""
    digest = hashlib.sha256(f"{seed}\0{patient}".encode()).digest()
    return (int.from_bytes(digest[:8]) >> 12) / 2**52
