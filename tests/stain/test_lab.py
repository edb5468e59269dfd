import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import lab2rgb, rgb2lab

from histosynth.stain.lab import to_lab, to_rgb

LEVELS = np.arange(0, 256, 3)
COLORS = np.stack(np.meshgrid(LEVELS, LEVELS, LEVELS), axis=-1).reshape(-1, 3).astype(np.uint8)
DARK = (
    np.stack(np.meshgrid(*[np.arange(30)] * 3), axis=-1).reshape(-1, 3).astype(np.uint8)
)  # on both sides of the transition to the linear part


@pytest.mark.parametrize("colors", [COLORS, DARK])
def test_lab_agrees_with_skimage(colors: np.ndarray) -> None:
    assert np.abs(to_lab(colors).T - rgb2lab(colors)).max() < 5e-4


@pytest.mark.parametrize(
    ("color", "lab"),
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((119, 119, 119), (50.03, 0, 0)),
    ],
)
def test_lab_of_published_colors(color: tuple[int, int, int], lab: tuple[float, float, float]) -> None:
    assert to_lab(np.array([color], np.uint8))[:, 0] == pytest.approx(lab, abs=0.02)


@pytest.mark.parametrize("colors", [COLORS, DARK])
def test_conversion_is_lossless(colors: np.ndarray) -> None:
    assert np.array_equal(to_rgb(to_lab(colors)), colors)


@given(st.tuples(st.floats(0, 100), st.floats(-60, 60), st.floats(-60, 27)))  # for yellower colors, skimage clips f(Z)
def test_rgb_agrees_with_skimage(color: tuple[float, float, float]) -> None:
    lab = np.array(color, np.float32)
    exact = 255 * lab2rgb(lab.astype(np.float64))
    assert np.abs(to_rgb(lab[:, None])[0] - exact).max() < 0.54


@pytest.mark.parametrize(
    ("color", "rgb"), [((400, 0, 0), (255,) * 3), ((-50, 0, 0), (0,) * 3), ((50, 1e4, 0), (255, 0, 0))]
)
def test_colors_outside_srgb_are_clipped(color: tuple[float, ...], rgb: tuple[int, ...]) -> None:
    clipped = to_rgb(np.array(color, np.float32)[:, None])[0]
    assert tuple(clipped[:2]) == rgb[:2]
