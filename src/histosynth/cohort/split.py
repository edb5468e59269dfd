"""Which patients train and which are held out: decided by a hash of the patient, within each label.

u(patient) = SHA-256(seed, patient) as a number in [0, 1); the patient is held out where u < fraction. A patient's own
u never changes, so adding slides or patients moves nobody, but for two guarantees that small cohorts need: per label
at least one patient trains (the largest u), and of two or more at least one is held out (the smallest u). A patient who
steps in for a guarantee steps back once a newcomer fulfills it; with n patients of a label held out by the share f,
that has probability (1 - f)^n + f^n.

With k folds, the home of a patient is fold ⌊k u⌋, and every patient is held out in exactly one fold. (Fold 0 of 5 so is
the draw of a fifth.) One guarantee: of n patients of a label, min(k, n) folds hold one, so that each label is tested in
every fold it can be, and of two patients or more one always trains. A fold that is nobody's home borrows a patient from
one that is the home of several, where the smallest u stays; who is borrowed is the smallest second hash, of patient and
fold. That some fold must borrow has a probability of at most k (1 - 1/k)^n; where none must, a newcomer moves nobody.
"""

import hashlib
from collections.abc import Mapping

from histosynth.config import PatchSettings
from histosynth.errors import HistosynthError, did_you_mean

TRAIN = "train"
HELD_OUT = "held_out"


def check_split_settings(settings: PatchSettings, *, table: bool) -> None:
    """Raise where the settings, and a table of splits beside them, say two things at once or none that can be done."""
    given = [
        *(["--split-table"] if table else []),
        *(["patches.held_out_patients"] if settings.held_out_patients else []),
        *(["patches.folds"] if settings.folds else []),
    ]
    if len(given) > 1:
        raise HistosynthError(f"{given[0]} and {given[1]} both say who is held out; give one of them")
    if settings.folds == 1:
        raise HistosynthError("patches.folds = 1 would hold every patient out; take 2 or more, or 0 for no folds")
    if settings.fold and not settings.folds:
        raise HistosynthError(
            f"patches.fold = {settings.fold} needs patches.folds, the number of folds; set that too, or neither"
        )
    if settings.folds and settings.fold >= settings.folds:
        raise HistosynthError(
            f"patches.fold = {settings.fold}: of {settings.folds} folds the last is {settings.folds - 1}; take that or "
            "a smaller one"
        )


def split_rule(settings: PatchSettings) -> str:
    """What decides about a patient, in words for the manifest."""
    if settings.held_out_patients:
        return "patches.held_out_patients"
    if settings.folds:
        return f"hash of the patient within each label: fold {settings.fold} of {settings.folds}, counted from 0"
    return "hash of the patient within each label"


def split_by_settings(settings: PatchSettings, labels: Mapping[str, str | None]) -> dict[str, str]:
    """`train` or `held_out` for each patient of `labels`, as the settings say.

    Raises:
        HistosynthError: a held-out patient is named of whom there is nothing, or the fold holds nobody.
    """
    named = settings.held_out_patients
    if unknown := sorted(set(named) - set(labels)):
        raise HistosynthError(
            f"patches.held_out_patients names '{unknown[0]}', but nothing here is of that patient"
            f"{did_you_mean(unknown[0], sorted(labels))}"
        )
    if named:
        return {patient: HELD_OUT if patient in named else TRAIN for patient in labels}
    if not settings.folds:
        return split_patients(labels, fraction=settings.held_out, seed=settings.seed)
    folds = assign_folds(labels, folds=settings.folds, seed=settings.seed)
    if labels and settings.fold not in folds.values():
        raise HistosynthError(
            f"fold {settings.fold} of {settings.folds} holds nobody out: there are only {len(labels)} patients; "
            "lower patches.folds"
        )
    return {patient: HELD_OUT if fold == settings.fold else TRAIN for patient, fold in folds.items()}


def split_patients(labels: Mapping[str, str | None], *, fraction: float, seed: int) -> dict[str, str]:
    """`train` or `held_out` for each patient.

    Args:
        labels: label of each patient; None is a group of its own.
        fraction: share held out, in [0, 1); 0 holds nobody out.
        seed: another seed, another draw.
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
    """The fold, 0 to `folds - 1`, in which each patient is held out.

    Args:
        labels: label of each patient; None is a group of its own.
        folds: how many.
        seed: another seed, another draw.
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
    """u in [0, 1), from the first 52 bits of the hash, so that it is exact in a float."""
    digest = hashlib.sha256(f"{seed}\0{patient}".encode()).digest()
    return (int.from_bytes(digest[:8]) >> 12) / 2**52
