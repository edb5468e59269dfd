"""Split of patients into training and held-out, by a hash of the patient, within each label.

u(patient) = SHA-256(seed, patient) as a number in [0, 1); the patient is held out if u < fraction. The u of a patient
never changes, so adding slides or patients moves no other patient, except for two guarantees that small cohorts need:
per label at least one patient trains (the largest u), and of two or more at least one is held out (the smallest u). A
patient who was reassigned for a guarantee returns once a new patient fulfills it. With n patients of a label and the
held-out share f, such a reassignment has probability (1 - f)^n + f^n.

With k folds, the home fold of a patient is ⌊k u⌋, and every patient is held out in exactly one fold. (Fold 0 of 5 is
therefore the held-out set of fraction 1/5.) One guarantee: of n patients of a label, min(k, n) folds hold out at least
one, so that each label is tested in as many folds as possible, and of two or more patients one always trains. A fold
that is no patient's home borrows a patient from a fold that is the home of several, where the smallest u stays; the
borrowed patient has the smallest second hash, of patient and fold. The probability that any fold must borrow is at most
k (1 - 1/k)^n; where none must, a new patient moves no other.
"""

import hashlib
from collections.abc import Mapping

from histosynth.config import PatchSettings
from histosynth.errors import HistosynthError, did_you_mean

TRAIN = "train"
HELD_OUT = "held_out"


def check_split_settings(settings: PatchSettings, *, table: bool) -> None:
    """Raise if the split settings contradict each other or a split table, or cannot be fulfilled."""
    rules = [
        *(["--split-table"] if table else []),
        *(["patches.held_out_patients"] if settings.held_out_patients else []),
        *(["patches.folds"] if settings.folds else []),
    ]
    if len(rules) > 1:
        raise HistosynthError(f"{rules[0]} and {rules[1]} both determine the held-out patients; use one of them")
    if settings.folds == 1:
        raise HistosynthError("patches.folds = 1 would hold out every patient; set 2 or more, or 0 for no folds")
    if settings.fold and not settings.folds:
        raise HistosynthError(
            f"patches.fold = {settings.fold} needs patches.folds, the number of folds; set both or neither"
        )
    if settings.folds and settings.fold >= settings.folds:
        raise HistosynthError(
            f"patches.fold = {settings.fold}: the last of {settings.folds} folds is {settings.folds - 1}; set that or "
            "a smaller one"
        )


def split_rule(settings: PatchSettings) -> str:
    """Return a description of the split rule for the manifest."""
    if settings.held_out_patients:
        return "patches.held_out_patients"
    if settings.folds:
        return f"hash of the patient within each label: fold {settings.fold} of {settings.folds}, counted from 0"
    return "hash of the patient within each label"


def split_by_settings(settings: PatchSettings, labels: Mapping[str, str | None]) -> dict[str, str]:
    """Return `train` or `held_out` for each patient of `labels`, according to the settings.

    Raises:
        HistosynthError: a patient named as held out has no data, or the fold holds out no patient.
    """
    named = settings.held_out_patients
    if unknown := sorted(set(named) - set(labels)):
        raise HistosynthError(
            f"patches.held_out_patients names '{unknown[0]}', a patient without data here"
            f"{did_you_mean(unknown[0], sorted(labels))}"
        )
    if named:
        return {patient: HELD_OUT if patient in named else TRAIN for patient in labels}
    if not settings.folds:
        return split_patients(labels, fraction=settings.held_out, seed=settings.seed)
    folds = assign_folds(labels, folds=settings.folds, seed=settings.seed)
    if labels and settings.fold not in folds.values():
        raise HistosynthError(
            f"fold {settings.fold} of {settings.folds} holds out no patient: there are only {len(labels)} patients; "
            "lower patches.folds"
        )
    return {patient: HELD_OUT if fold == settings.fold else TRAIN for patient, fold in folds.items()}


def split_patients(labels: Mapping[str, str | None], *, fraction: float, seed: int) -> dict[str, str]:
    """Return `train` or `held_out` for each patient.

    Args:
        labels: label of each patient; None counts as a label.
        fraction: share held out, in [0, 1); 0 holds out no patient.
        seed: seed of the hash.
    """
    held_out: set[str] = set()
    for group in set(labels.values()):
        numbers = {patient: patient_hash(patient, seed=seed) for patient in labels if labels[patient] == group}
        ranked = sorted(numbers, key=lambda patient: (numbers[patient], patient))
        count = sum(u < fraction for u in numbers.values())
        at_least = 1 if fraction > 0 else 0
        held_out.update(ranked[: min(max(count, at_least), len(ranked) - 1)])
    return {patient: HELD_OUT if patient in held_out else TRAIN for patient in labels}


def assign_folds(labels: Mapping[str, str | None], *, folds: int, seed: int) -> dict[str, int]:
    """Return the fold, 0 to `folds - 1`, in which each patient is held out.

    Args:
        labels: label of each patient; None counts as a label.
        folds: number of folds.
        seed: seed of the hash.
    """
    number = {patient: patient_hash(patient, seed=seed) for patient in labels}
    fold = {patient: int(u * folds) for patient, u in number.items()}
    for group in set(labels.values()):
        owners: dict[int, str] = {}
        spare: list[str] = []
        for patient in sorted((p for p in labels if labels[p] == group), key=lambda p: (number[p], p)):
            if owners.setdefault(fold[patient], patient) != patient:
                spare.append(patient)
        for empty in sorted(set(range(folds)) - set(owners))[: len(spare)]:
            second = {patient: (patient_hash(f"{patient}\0{empty}", seed=seed), patient) for patient in spare}
            borrowed = min(spare, key=second.__getitem__)
            spare.remove(borrowed)
            fold[borrowed] = empty
    return fold


def patient_hash(patient: str, *, seed: int) -> float:
    """Return u in [0, 1), from the first 52 bits of the SHA-256, so that it is exact in a float."""
    digest = hashlib.sha256(f"{seed}\0{patient}".encode()).digest()
    return (int.from_bytes(digest[:8]) >> 12) / 2**52
