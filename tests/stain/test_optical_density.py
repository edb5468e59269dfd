import numpy as np
import pytest

from histosynth.stain.optical_density import I0, to_density, to_rgb

LEVELS = np.arange(256, dtype=np.uint8)


def test_density_agrees_with_its_definition() -> None:
    assert to_density(LEVELS) == pytest.approx(-np.log((np.arange(256) + 1) / I0), abs=1e-6)
    assert to_density(LEVELS).dtype == np.float32


def test_conversion_is_lossless() -> None:
    assert np.array_equal(to_rgb(to_density(LEVELS)), LEVELS)


def test_light_beyond_white_and_black_is_clipped() -> None:
    assert to_rgb(np.array([-5, 50], np.float32)).tolist() == [255, 0]


def test_densities_of_two_layers_add_up() -> None:
    a, b = 120, 180
    both = to_rgb(to_density(np.uint8(a)) + to_density(np.uint8(b)))
    assert both == pytest.approx((a + 1) * (b + 1) / I0 - 1, abs=0.5)
