"""A program finds the traces of encoders where they differ, and cannot after a random crop and one common JPEG."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from histosynth.store.png import decode_png
from histosynth.study.design.pictures import blinded_png, picture_px
from histosynth.study.design.pixel_check import Side, pixel_auc

PX = 64


def texture(rng: np.random.Generator, px: int) -> np.ndarray:
    """Return colored noise of several scales: no place differs from another."""
    layers = [scale * gaussian_filter(rng.normal(0, 1, (px, px, 3)), (scale, scale, 0)) for scale in (1, 2, 4, 8)]
    return (150 + 40 * sum(layers)).clip(0, 255).astype(np.uint8)


def compressed(image: np.ndarray, quality: int = 80) -> np.ndarray:
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def patches(count: int, *, offset: int, seed: int) -> list[np.ndarray]:
    """Return patches of JPEG-compressed texture, cut at this offset from the grid."""
    rng = np.random.default_rng(seed)
    return [compressed(texture(rng, PX + 8))[offset : offset + PX, offset : offset + PX] for _ in range(count)]


def auc(real: list[np.ndarray], fake: list[np.ndarray], *, crop: bool, jpeg_history: int) -> float:
    rng = np.random.default_rng(0)

    def blind(image: np.ndarray) -> np.ndarray:
        return decode_png(blinded_png(image, crop=rng if crop else None, jpeg_history=jpeg_history))

    sides = [
        Side(pictures=[*map(blind, images)], units=[f"{name} {i % 8}" for i in range(len(images))])
        for name, images in (("patient", real), ("seed", fake))
    ]
    measured = pixel_auc(*sides, rng=rng)
    assert measured is not None
    assert "cross-validated by patient" in measured.note
    return measured.value


def test_the_place_of_an_earlier_grid_is_hidden():
    """The same texture on both sides: a perfect generator, with its grid in another place."""
    real, fake = patches(60, offset=0, seed=1), patches(60, offset=3, seed=2)
    assert auc(real, fake, crop=False, jpeg_history=0) > 0.99
    assert auc(real, fake, crop=False, jpeg_history=80) > 0.65  # one JPEG alone keeps it
    assert auc(real, fake, crop=True, jpeg_history=80) == pytest.approx(0.5, abs=0.15)  # three standard errors


def test_equal_sides_are_distinguished_by_chance_only():
    real, fake = patches(60, offset=0, seed=3), patches(60, offset=0, seed=4)
    assert auc(real, fake, crop=False, jpeg_history=0) == pytest.approx(0.5, abs=0.15)


def test_lowest_bits_are_found_and_hidden():
    rng = np.random.default_rng(5)
    real, fake = ([texture(rng, PX) for _ in range(40)] for _ in range(2))
    even = [image & 0xFE for image in fake]
    assert auc(real, even, crop=False, jpeg_history=0) > 0.99
    assert auc(real, even, crop=True, jpeg_history=80) == pytest.approx(0.5, abs=0.2)


def test_a_patient_is_not_taken_for_real():
    """Real and synthetic patches of one patient resemble each other; folds by patient keep it from being learned."""
    rng = np.random.default_rng(6)
    tints = rng.normal(0, 12, (8, 3))
    images = [[(texture(rng, PX) + tints[i % 8]).clip(0, 255).astype(np.uint8) for i in range(64)] for _ in range(2)]
    real, fake = (Side(pictures=side, units=[f"P{i % 8}" for i in range(64)]) for side in images)
    measured = pixel_auc(real, fake, rng=rng)
    assert measured.value == pytest.approx(0.5, abs=0.15)
    one = Side(pictures=real.pictures, units=["P1"] * 64)
    assert "all real ones are of one patient" in pixel_auc(one, fake, rng=rng).note


def test_too_few_or_too_small_pictures_are_not_measured():
    rng = np.random.default_rng(0)
    few = [texture(rng, PX) for _ in range(9)]
    small = [np.zeros((4, 4, 3), np.uint8)] * 20
    for images in (few, small):
        side = Side(pictures=images, units=["a"] * len(images))
        assert pixel_auc(side, side, rng=rng) is None


@pytest.mark.parametrize(("px", "expected"), [(1, 1), (8, 6), (31, 24), (32, 24), (96, 88), (256, 248)])
def test_the_crop_takes_eight_pixels_and_at_most_a_quarter(px, expected):
    assert picture_px(px, random_crop=True) == expected
    assert picture_px(px, random_crop=False) == px
    png = blinded_png(np.zeros((px, px, 3), np.uint8), crop=np.random.default_rng(0))
    assert decode_png(png).shape == (expected, expected, 3)


def test_all_places_of_the_grid_are_equally_probable():
    image = np.arange(32)[:, None, None] * np.ones((1, 32, 3))
    rng = np.random.default_rng(0)
    tops = [int(decode_png(blinded_png(image.astype(np.uint8), crop=rng))[0, 0, 0]) for _ in range(800)]
    assert np.bincount(tops, minlength=8).min() > 60
    assert max(tops) == 7
