from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histosynth.cohort.split import (
    HELD_OUT,
    TRAIN,
    assign_folds,
    check_split_settings,
    patient_hash,
    split_by_settings,
    split_patients,
)
from histosynth.config import PatchSettings
from histosynth.errors import HistosynthError

cohorts = st.dictionaries(st.text(min_size=1, max_size=6), st.sampled_from(["codel", "wt", None]), max_size=30)


@given(labels=cohorts, fraction=st.floats(0.01, 0.99), seed=st.integers(0, 3))
def test_each_label_trains_and_of_two_patients_one_is_held_out(labels: dict, fraction: float, seed: int) -> None:
    split = split_patients(labels, fraction=fraction, seed=seed)
    assert list(split) == list(labels)
    for label in set(labels.values()):
        counts = Counter(split[patient] for patient in labels if labels[patient] == label)
        assert counts[TRAIN] >= 1
        assert counts[HELD_OUT] >= min(1, counts.total() - 1)


@given(labels=cohorts, new_patient=st.text(min_size=7, max_size=8), seed=st.integers(0, 3))
def test_a_new_patient_moves_only_those_reassigned_for_a_guarantee(labels: dict, new_patient: str, seed: int) -> None:
    before = split_patients(labels, fraction=0.3, seed=seed)
    after = split_patients({**labels, new_patient: "codel"}, fraction=0.3, seed=seed)
    moved = {patient for patient in labels if before[patient] != after[patient]}
    # The split is u < fraction, except for patients that were or now are reassigned for a guarantee.
    reassigned = {p for p in moved if (before[p] == HELD_OUT) != (patient_hash(p, seed=seed) < 0.3)}
    reassigned |= {p for p in moved if (after[p] == HELD_OUT) != (patient_hash(p, seed=seed) < 0.3)}
    assert moved == reassigned
    assert len(moved) <= 2
    assert all(labels[patient] == "codel" for patient in moved)


def test_a_large_cohort_is_stable_and_near_the_fraction() -> None:
    labels = {f"P{n}": "ab"[n % 2] for n in range(2000)}
    split = split_patients(labels, fraction=0.2, seed=0)
    held_out = sum(name == HELD_OUT for name in split.values())
    assert abs(held_out - 400) < 4 * (2000 * 0.2 * 0.8) ** 0.5  # four standard deviations of the binomial
    larger = split_patients({f"Q{n}": "a" for n in range(500)} | labels, fraction=0.2, seed=0)
    assert {patient: larger[patient] for patient in labels} == split


def test_a_fraction_of_zero_holds_out_no_patient() -> None:
    assert set(split_patients({"a": "x", "b": "x"}, fraction=0, seed=0).values()) == {TRAIN}


def test_another_seed_gives_another_split() -> None:
    labels = dict.fromkeys(map(str, range(100)), "x")
    assert split_patients(labels, fraction=0.3, seed=0) != split_patients(labels, fraction=0.3, seed=1)


def test_the_hash_never_changes() -> None:
    # A changed hash would move patients between training and test of existing stores.
    assert patient_hash("TCGA-DB-5270", seed=0) == 0.7863363005563719


@given(labels=cohorts, folds=st.integers(2, 8), seed=st.integers(0, 3))
def test_each_patient_is_held_out_once_and_each_label_in_as_many_folds_as_possible(
    labels: dict, folds: int, seed: int
) -> None:
    held_out: Counter[str] = Counter()
    for fold in sorted(set(assign_folds(labels, folds=folds, seed=seed).values())):
        split = split_by_settings(PatchSettings(folds=folds, fold=fold, seed=seed), labels)
        assert list(split) == list(labels)
        held_out.update(patient for patient, name in split.items() if name == HELD_OUT)
        for label in set(labels.values()):
            counts = Counter(split[patient] for patient in labels if labels[patient] == label)
            assert counts[TRAIN] >= min(1, counts.total() - 1)
    assert held_out == Counter(dict.fromkeys(labels, 1))
    assigned = assign_folds(labels, folds=folds, seed=seed)
    for label in set(labels.values()):
        members = [patient for patient in labels if labels[patient] == label]
        assert len({assigned[patient] for patient in members}) == min(folds, len(members))


@given(labels=cohorts, new_patient=st.text(min_size=7, max_size=8), folds=st.integers(2, 8), seed=st.integers(0, 3))
def test_a_new_patient_moves_only_borrowed_patients(labels: dict, new_patient: str, folds: int, seed: int) -> None:
    before = assign_folds(labels, folds=folds, seed=seed)
    after = assign_folds({**labels, new_patient: "codel"}, folds=folds, seed=seed)
    home = {patient: int(folds * patient_hash(patient, seed=seed)) for patient in labels}
    moved = {patient for patient in labels if before[patient] != after[patient]}
    assert all(labels[patient] == "codel" for patient in moved)
    assert all(home[patient] != before[patient] or home[patient] != after[patient] for patient in moved)
    # Each fold that is no patient's home returns at most one borrowed patient and borrows at most one other.
    empty = folds - len({home[patient] for patient in labels if labels[patient] == "codel"})
    assert len(moved) <= 2 * empty


@given(labels=cohorts, folds=st.integers(2, 8), order=st.randoms(use_true_random=False))
def test_the_order_of_patients_does_not_matter(labels: dict, folds: int, order: object) -> None:
    shuffled = list(labels)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    again = assign_folds({patient: labels[patient] for patient in shuffled}, folds=folds, seed=0)
    assert again == assign_folds(labels, folds=folds, seed=0)


def test_folds_of_a_large_cohort_are_even_and_fold_0_of_5_equals_a_fraction_of_a_fifth() -> None:
    labels = {f"P{n}": "ab"[n % 2] for n in range(2000)}
    folds = assign_folds(labels, folds=5, seed=0)
    assert all(abs(count - 400) < 4 * (2000 * 0.2 * 0.8) ** 0.5 for count in Counter(folds.values()).values())
    drawn = split_patients(labels, fraction=0.2, seed=0)
    assert {p for p, fold in folds.items() if fold == 0} == {p for p, name in drawn.items() if name == HELD_OUT}


@pytest.mark.parametrize(
    ("settings", "table", "message"),
    [
        ({"folds": 5, "held_out_patients": ("a",)}, False, "held_out_patients and patches.folds both determine"),
        ({"folds": 5}, True, "--split-table and patches.folds both determine"),
        ({"held_out_patients": ("a",)}, True, "--split-table and patches.held_out_patients both determine"),
        ({"folds": 1}, False, "patches.folds = 1 would hold out every patient"),
        ({"folds": 3, "fold": 3}, False, "patches.fold = 3: the last of 3 folds is 2"),
        ({"fold": 2}, False, "patches.fold = 2 needs patches.folds"),
    ],
)
def test_contradictory_split_settings_are_errors(settings: dict, table: bool, message: str) -> None:
    with pytest.raises(HistosynthError, match=message):
        check_split_settings(PatchSettings(**settings), table=table)


def test_a_fold_that_holds_out_no_patient_is_an_error() -> None:
    labels = {"a": "x", "b": "x"}
    (empty,) = set(range(3)) - set(assign_folds(labels, folds=3, seed=0).values())
    with pytest.raises(HistosynthError, match=r"holds out no patient: there are only 2 patients; lower patches\.folds"):
        split_by_settings(PatchSettings(folds=3, fold=empty), labels)


def test_the_folds_never_change() -> None:
    # A changed hash would also move patients between the folds of existing stores.
    few = assign_folds(dict.fromkeys("abcdef", "x") | dict.fromkeys("gh", "y"), folds=5, seed=0)
    assert few == {"a": 2, "b": 3, "c": 4, "d": 0, "e": 1, "f": 1, "g": 3, "h": 1}
