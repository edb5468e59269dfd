"""The computed order is a permutation for every count and key, and all positions are equally likely."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from histosynth.training.data.feistel_permutation import permute_indices

keys = st.lists(st.integers(0, 2**40), min_size=1, max_size=3)


@given(st.integers(1, 20_000), keys)
def test_the_images_of_all_indices_are_distinct(count: int, key: list[int]) -> None:
    permutation = permute_indices(np.arange(count), count=count, key=key)
    assert sorted(permutation.tolist()) == list(range(count))


@given(st.integers(1, 2**40), keys, st.data())
def test_an_image_does_not_depend_on_the_other_indices(count: int, key: list[int], data: st.DataObject) -> None:
    index = np.array(data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=20, unique=True)))
    images = permute_indices(index, count=count, key=key)
    alone = [int(permute_indices(index[i : i + 1], count=count, key=key)[0]) for i in range(len(index))]
    assert alone == images.tolist()
    assert ((images >= 0) & (images < count)).all()
    assert len(set(images.tolist())) == len(index)


@pytest.mark.parametrize("count", [3, 1025, 5000])
def test_two_indices_have_all_pairs_of_images_equally_often(count: int) -> None:
    """Over the keys: the images of 0 and 1 in the cells of a grid, observed counts against expected ones."""
    places = np.array([permute_indices(np.array([0, 1]), count=count, key=(seed, 7)) for seed in range(3000)])
    side = min(count, 8)
    cells = np.histogram2d(*(places * side // count).T, bins=side, range=[[0, side], [0, side]])[0]
    size = np.bincount(np.arange(count) * side // count)
    chance = (np.outer(size, size) - np.diag(size)) / (count * (count - 1))
    assert cells[chance == 0].sum() == 0
    assert stats.chisquare(cells[chance > 0], 3000 * chance[chance > 0]).pvalue > 1e-4


def test_neighbors_and_passes_are_independent() -> None:
    """Of 100,000 indices: the image of an index does not predict that of the next, nor its image in the next pass."""
    count = 100_000
    first, second = (permute_indices(np.arange(count), count=count, key=(1, number)) for number in (0, 1))

    for a, b in [(first[:-1], first[1:]), (first, second), (np.arange(count), first)]:
        cells = np.histogram2d(a, b, bins=10, range=[[0, count], [0, count]])[0]
        assert stats.chisquare(cells.ravel()).pvalue > 1e-4
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / count**0.5
    assert (first == second).mean() < 1e-3
