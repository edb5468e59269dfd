import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histosynth.store.scale import SUBPIXELS, Window, area_average


def noise(side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_an_integer_ratio_gives_the_block_mean() -> None:
    image = noise(512)
    mean = image.reshape(128, 4, 128, 4, 3).mean((1, 3))
    np.testing.assert_array_equal(area_average(image, side_px=128), np.floor(mean + 0.5))


@settings(max_examples=50)
@given(n=st.integers(1, 40), m=st.integers(1, 40), seed=st.integers(0, 9))
def test_any_ratio_gives_the_block_mean_of_the_image_enlarged_m_times(n: int, m: int, seed: int) -> None:
    n, m = max(n, m), min(n, m)
    image = noise(n, seed)
    units = image.repeat(m, 0).repeat(m, 1).astype(np.int64)  # n·m units per side, so that both grids align with them
    total = units.reshape(m, n, m, n, 3).sum((1, 3))
    np.testing.assert_array_equal(area_average(image, side_px=m), np.floor(total / n**2 + 0.5))


def test_a_uniform_image_keeps_its_color() -> None:
    assert (area_average(np.full((257, 257, 3), 201, np.uint8), side_px=128) == 201).all()


def test_the_largest_sums_do_not_overflow() -> None:
    assert (area_average(np.full((3000, 3000, 3), 255, np.uint8), side_px=3) == 255).all()


@pytest.mark.parametrize("shape", [(8, 9, 3), (8, 8, 3)])
def test_enlarging_and_squeezing_are_errors(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="cannot area-average"):
        area_average(np.zeros(shape, np.uint8), side_px=9 if shape[0] == shape[1] else 4)


@settings(max_examples=50)
@given(
    x=st.integers(0, 5 * SUBPIXELS),
    y=st.integers(0, 5 * SUBPIXELS),
    side=st.integers(4 * SUBPIXELS, 7 * SUBPIXELS),
    m=st.integers(1, 4),
)
def test_a_window_between_pixels_gives_the_integral_over_it(x: int, y: int, side: int, m: int) -> None:
    image = noise(12)
    # The integral of an image of constant pixels is linear between them, which gives the average independently.
    integral = np.zeros((13, 13, 3))
    integral[1:, 1:] = image.cumsum(0, dtype=float).cumsum(1)
    edges = [start / SUBPIXELS + np.arange(m + 1) * side / SUBPIXELS / m for start in (y, x)]
    across = np.stack([[np.interp(edges[1], range(13), row[:, c]) for c in range(3)] for row in integral], axis=0)
    both = np.stack([[np.interp(edges[0], range(13), across[:, c, j]) for c in range(3)] for j in range(m + 1)])
    area = np.diff(np.diff(both, axis=0), axis=2).transpose(2, 0, 1) / (side / SUBPIXELS / m) ** 2
    result = area_average(image, side_px=m, window=Window(x=x, y=y, side=side))
    assert np.abs(result - area).max() <= 0.5 + 1e-6


@settings(max_examples=30)
@given(ratio=st.sampled_from([2, 3, 4, 5, 8, 16]), m=st.integers(1, 6), seed=st.integers(0, 9))
def test_the_shortcut_at_integer_ratios_is_exact(ratio: int, m: int, seed: int) -> None:
    image = noise(ratio * m, seed)
    mean = image.reshape(m, ratio, m, ratio, 3).mean((1, 3))
    np.testing.assert_array_equal(area_average(image, side_px=m), np.floor(mean + 0.5))


def test_a_window_outside_the_image_is_an_error() -> None:
    with pytest.raises(ValueError, match="lies outside"):
        area_average(noise(8), side_px=4, window=Window(x=1, y=0, side=8 * SUBPIXELS))


@pytest.mark.parametrize(("width", "height", "x", "y"), [(16, 8, 0, 1), (8, 16, 1, 0)])
def test_each_axis_has_its_own_bound(width: int, height: int, x: int, y: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    for factor in (1, 3):  # whole pixels, and sums of shares
        window = Window(x=x * SUBPIXELS, y=y * SUBPIXELS, side=8 * SUBPIXELS)
        with pytest.raises(ValueError, match="lies outside"):
            area_average(image, side_px=8 // factor, window=window)
