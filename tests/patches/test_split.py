from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from histosynth.patches.split import HELD_OUT, TRAIN, patient_number, split_patients

cohorts = st.dictionaries(st.text(min_size=1, max_size=6), st.sampled_from(["codel", "wt", None]), max_size=30)


@given(labels=cohorts, fraction=st.floats(0.01, 0.99), seed=st.integers(0, 3))
def test_each_label_trains_and_two_patients_leave_one_held_out(labels: dict, fraction: float, seed: int) -> None:
    split = split_patients(labels, fraction=fraction, seed=seed)
    assert list(split) == list(labels)
    for label in set(labels.values()):
        sides = Counter(split[patient] for patient in labels if labels[patient] == label)
        assert sides[TRAIN] >= 1
        assert sides[HELD_OUT] >= min(1, sides.total() - 1)


@given(labels=cohorts, newcomer=st.text(min_size=7, max_size=8), seed=st.integers(0, 3))
def test_a_newcomer_moves_at_most_the_patient_who_stepped_in(labels: dict, newcomer: str, seed: int) -> None:
    before = split_patients(labels, fraction=0.3, seed=seed)
    after = split_patients({**labels, newcomer: "codel"}, fraction=0.3, seed=seed)
    moved = {patient for patient in labels if before[patient] != after[patient]}
    # By definition the side is u < fraction: only who stands on the other side of it had stepped in, or steps in now.
    stepped = {p for p in moved if (before[p] == HELD_OUT) != (patient_number(p, seed=seed) < 0.3)}
    stepped |= {p for p in moved if (after[p] == HELD_OUT) != (patient_number(p, seed=seed) < 0.3)}
    assert moved == stepped
    assert len(moved) <= 2
    assert all(labels[patient] == "codel" for patient in moved)


def test_a_large_cohort_is_stable_and_near_the_fraction() -> None:
    labels = {f"P{n}": "ab"[n % 2] for n in range(2000)}
    split = split_patients(labels, fraction=0.2, seed=0)
    held_out = sum(side == HELD_OUT for side in split.values())
    assert abs(held_out - 400) < 4 * (2000 * 0.2 * 0.8) ** 0.5  # four standard deviations of the binomial
    larger = split_patients({f"Q{n}": "a" for n in range(500)} | labels, fraction=0.2, seed=0)
    assert {patient: larger[patient] for patient in labels} == split


def test_no_fraction_holds_nobody_out() -> None:
    assert set(split_patients({"a": "x", "b": "x"}, fraction=0, seed=0).values()) == {TRAIN}


def test_another_seed_is_another_draw() -> None:
    labels = dict.fromkeys(map(str, range(100)), "x")
    assert split_patients(labels, fraction=0.3, seed=0) != split_patients(labels, fraction=0.3, seed=1)


def test_the_number_never_changes() -> None:
    # A changed hash would move patients between training and test of stores that people already have.
    assert patient_number("TCGA-DB-5270", seed=0) == 0.7863363005563719
