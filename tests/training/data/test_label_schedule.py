"""The label schedule keeps the shares of the labels, spreads them evenly, and counts them correctly."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from histosynth.training.data.label_schedule import LabelSchedule

shares = st.lists(st.floats(0.01, 100), min_size=1, max_size=6)


@given(shares, st.integers(0, 5000), st.integers(1, 300))
def test_the_count_before_a_position_equals_a_count_by_hand(label_shares: list[float], start: int, size: int) -> None:
    schedule = LabelSchedule(label_shares)
    labels, _ = schedule.at(np.arange(start + size))
    by_hand = [int((labels[:i] == labels[i]).sum()) for i in range(start, start + size)]
    part, before = schedule.at(np.arange(start, start + size))
    assert part.tolist() == labels[start:].tolist()
    assert before.tolist() == by_hand


@given(shares)
def test_labels_occur_evenly_and_in_their_shares(label_shares: list[float]) -> None:
    labels, _ = LabelSchedule(label_shares).at(np.arange(20_000))
    exact = np.array(label_shares) / sum(label_shares)
    observed = np.bincount(labels, minlength=len(exact)) / len(labels)
    assert np.abs(observed - exact).max() < 0.001 * len(exact) + 1e-9
    for label, share in enumerate(observed):
        positions = np.flatnonzero(labels == label)
        assert np.diff(positions).max(initial=0) <= 2 / share + len(exact)


def test_equal_shares_alternate() -> None:
    assert LabelSchedule([2.0, 2.0, 2.0]).at(np.arange(7))[0].tolist() == [0, 1, 2, 0, 1, 2, 0]
