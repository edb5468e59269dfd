import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histosynth.patches.scale import area_average


def noise(side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_a_whole_ratio_is_the_block_mean() -> None:
    image = noise(512)
    mean = image.reshape(128, 4, 128, 4, 3).mean((1, 3))
    np.testing.assert_array_equal(area_average(image, side_px=128), np.floor(mean + 0.5))


@settings(max_examples=50)
@given(n=st.integers(1, 40), m=st.integers(1, 40), seed=st.integers(0, 9))
def test_any_ratio_is_the_block_mean_of_the_image_enlarged_m_times(n: int, m: int, seed: int) -> None:
    n, m = max(n, m), min(n, m)
    image = noise(n, seed)
    units = image.repeat(m, 0).repeat(m, 1).astype(np.int64)  # n·m units a side, so that both grids fall on them
    total = units.reshape(m, n, m, n, 3).sum((1, 3))
    np.testing.assert_array_equal(area_average(image, side_px=m), np.floor(total / n**2 + 0.5))


def test_one_color_stays() -> None:
    assert (area_average(np.full((257, 257, 3), 201, np.uint8), side_px=128) == 201).all()


def test_the_largest_sums_do_not_overflow() -> None:
    assert (area_average(np.full((3000, 3000, 3), 255, np.uint8), side_px=3) == 255).all()


@pytest.mark.parametrize("shape", [(8, 9, 3), (8, 8, 3)])
def test_it_neither_enlarges_nor_squeezes(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="cannot area-average"):
        area_average(np.zeros(shape, np.uint8), side_px=9 if shape[0] == shape[1] else 4)
