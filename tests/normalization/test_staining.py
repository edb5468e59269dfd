"""Pooling of pixels, the distance between stains, and tissue against background."""

import numpy as np
import pytest

from histosynth.normalization.pixel_pool import PixelPool, pool_pixels
from histosynth.stain import is_tissue, tissue_pixels
from histosynth.stain.distance import mean_stain_distance, stain_distance
from histosynth.stain.two_stains import TARGET


def test_the_pool_keeps_every_nth_pixel_of_the_sequence_of_images() -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (5, 7, 1, 9)]
    whole = np.concatenate([image.reshape(-1, 3) for image in images])
    for at_most in (1, 7, 50, 155, 156, 1000):
        pool = PixelPool(len(whole), at_most=at_most)
        for image in images:
            pool.add(image)
        np.testing.assert_array_equal(pool.pixels, whole[:: max(1, -(-len(whole) // at_most))])
    np.testing.assert_array_equal(pool_pixels(images), whole)


def test_the_distance_between_stains_is_the_distance_of_their_colors() -> None:
    other = TARGET.__class__(
        stains=TARGET.stains,
        max_concentrations=(TARGET.max_concentrations[0] + 0.6, TARGET.max_concentrations[1] - 0.8),
        pixels=1,
        angle_deg=0,
        residual=0,
    )
    assert stain_distance(TARGET, other) == pytest.approx(np.sqrt((0.36 + 0.64) / 2), abs=1e-4)
    assert stain_distance(TARGET, TARGET) == 0
    assert mean_stain_distance([TARGET, other, TARGET]) == pytest.approx(2 / 3 * stain_distance(TARGET, other))
    assert mean_stain_distance([TARGET]) is None


def test_tissue_is_everything_but_background() -> None:
    pixels = np.array([[255, 255, 255], [240, 240, 240], [240, 200, 240], [10, 10, 10]], np.uint8)
    assert is_tissue(pixels).tolist() == [False, False, True, True]
    np.testing.assert_array_equal(tissue_pixels(pixels), pixels[2:])
