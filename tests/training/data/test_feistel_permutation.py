"""The computed order is a permutation for every count and key, and no place is more likely than another."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from histosynth.training.data.feistel_permutation import permute_indices
from histosynth.training.data.label_schedule import LabelSchedule

keys = st.lists(st.integers(0, 2**40), min_size=1, max_size=3)


@given(st.integers(1, 20_000), keys)
def test_every_index_goes_to_a_place_of_its_own(count: int, key: list[int]) -> None:
    found = permute_indices(np.arange(count), count=count, key=key)
    assert sorted(found.tolist()) == list(range(count))


@given(st.integers(1, 2**40), keys, st.data())
def test_a_place_does_not_depend_on_what_else_is_asked(count: int, key: list[int], data: st.DataObject) -> None:
    some = np.array(data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=20, unique=True)))
    found = permute_indices(some, count=count, key=key)
    assert [int(permute_indices(some[i : i + 1], count=count, key=key)[0]) for i in range(len(some))] == found.tolist()
    assert ((found >= 0) & (found < count)).all()
    assert len(set(found.tolist())) == len(some)


@pytest.mark.parametrize("count", [3, 1025, 5000])
def test_two_indices_go_to_any_two_places_as_often(count: int) -> None:
    """Over the keys: where 0 and 1 go, in cells of a grid, the count beside the expected one."""
    places = np.array([permute_indices(np.array([0, 1]), count=count, key=(seed, 7)) for seed in range(3000)])
    side = min(count, 8)
    cells = np.histogram2d(*(places * side // count).T, bins=side, range=[[0, side], [0, side]])[0]
    size = np.bincount(np.arange(count) * side // count)
    chance = (np.outer(size, size) - np.diag(size)) / (count * (count - 1))
    assert cells[chance == 0].sum() == 0
    assert stats.chisquare(cells[chance > 0], 3000 * chance[chance > 0]).pvalue > 1e-4


def test_neighbors_part_and_passes_differ() -> None:
    """Of 100,000: where an index goes says nothing of where the next goes, nor of where it goes in the next pass."""
    count = 100_000
    first, second = (permute_indices(np.arange(count), count=count, key=(1, turn)) for turn in (0, 1))
    for a, b in [(first[:-1], first[1:]), (first, second), (np.arange(count), first)]:
        cells = np.histogram2d(a, b, bins=10, range=[[0, count], [0, count]])[0]
        assert stats.chisquare(cells.ravel()).pvalue > 1e-4
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / count**0.5
    assert (first == second).mean() < 1e-3


shares = st.lists(st.floats(0.01, 100), min_size=1, max_size=6)


@given(shares, st.integers(0, 5000), st.integers(1, 300))
def test_turns_count_as_one_does_by_hand(given_shares: list[float], start: int, size: int) -> None:
    turns = LabelSchedule(given_shares)
    labels, _ = turns.at(np.arange(start + size))
    by_hand = [int((labels[:i] == labels[i]).sum()) for i in range(start, start + size)]
    found, before = turns.at(np.arange(start, start + size))
    assert found.tolist() == labels[start:].tolist()
    assert before.tolist() == by_hand


@given(shares)
def test_turns_come_in_their_shares_and_evenly(given_shares: list[float]) -> None:
    labels, _ = LabelSchedule(given_shares).at(np.arange(20_000))
    exact = np.array(given_shares) / sum(given_shares)
    found = np.bincount(labels, minlength=len(exact)) / len(labels)
    assert np.abs(found - exact).max() < 0.001 * len(exact) + 1e-9
    for label, share in enumerate(found):
        places = np.flatnonzero(labels == label)
        assert np.diff(places).max(initial=0) <= 2 / share + len(exact)


def test_equal_shares_take_turns() -> None:
    assert LabelSchedule([2.0, 2.0, 2.0]).at(np.arange(7))[0].tolist() == [0, 1, 2, 0, 1, 2, 0]
