"""Pictures differ only in their pixels."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from skimage import data

from histosynth.normalization.staining import build_normalization
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.png import decode_png
from histosynth.store.store import Store, write_manifest
from histosynth.study.design.pictures import BlindingError, blinded_png


def tissue(px: int = 64) -> np.ndarray:
    return data.immunohistochemistry()[100 : 100 + px, 200 : 200 + px]  # hematoxylin and a brown stain, with glass


def chunks(png: bytes) -> list[bytes]:
    kinds, at = [], 8
    while at < len(png):
        kinds.append(png[at + 4 : at + 8])
        at += int.from_bytes(png[at : at + 4]) + 12
    return kinds


def test_pixels_are_unchanged():
    image = tissue()
    assert np.array_equal(np.asarray(Image.open(BytesIO(blinded_png(image)))), image)


@pytest.mark.parametrize("px", [1, 32, 96, 128, 300])
def test_all_pictures_of_a_size_have_the_same_length_and_structure(px):
    """Black, noise and tissue would have very different lengths if compressed."""
    rng = np.random.default_rng(0)
    images = [
        np.zeros((px, px, 3), np.uint8),
        rng.integers(0, 256, (px, px, 3), dtype=np.uint8),
        np.resize(tissue(), (px, px, 3)),
    ]
    pngs = [blinded_png(image, jpeg_history=history) for image in images for history in (0, 70)]
    assert len({len(png) for png in pngs}) == 1
    assert len({tuple(chunks(png)) for png in pngs}) == 1
    assert set(chunks(pngs[0])) == {b"IHDR", b"IDAT", b"IEND"}
    assert len({png[:33] for png in pngs}) == 1  # signature and IHDR: size, depth, color type


def test_text_inside_samples_is_removed(tmp_path):
    image = tissue()
    patch = Patch(patch_id="p", image=image, source="run", texts={"Description": "synthetic", "Seed": "7"})
    write_part(part_path(tmp_path, "a"), [patch], fingerprint="f")
    write_manifest(tmp_path, {})
    store = Store(tmp_path)
    assert b"synthetic" in store.table["image"][0]["bytes"].as_py()
    png = blinded_png(store.images([0])[0])
    assert b"synthetic" not in png
    assert b"tEXt" not in png
    assert Image.open(BytesIO(png)).info == {}
    assert png == blinded_png(image)


def blockiness(image: np.ndarray) -> float:
    """Return the ratio of steps across the 8 x 8 grid to steps elsewhere: 1 if there is no grid."""
    steps = np.abs(np.diff(image.astype(float), axis=1)).mean((0, 2))
    at = np.arange(len(steps)) % 8 == 7
    return float(steps[at].mean() / steps[~at].mean())


def test_a_jpeg_history_gives_all_pictures_the_same_grid():
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.integers(60, 200, (16, 16, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    smooth = np.roll(smooth, (3, 3), (0, 1))  # steps off the grid
    noise = (128 + rng.normal(0, 12, (128, 128, 3))).clip(0, 255).astype(np.uint8)
    assert blockiness(noise) == pytest.approx(1, abs=0.05)
    assert blockiness(decode_png(blinded_png(noise, jpeg_history=30))) > 1.3
    for image in (noise, smooth):
        once = decode_png(blinded_png(image, jpeg_history=30))
        buffer = BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=30, subsampling=2)
        assert np.array_equal(once, np.asarray(Image.open(buffer)))
        again = decode_png(blinded_png(once, jpeg_history=30))
        assert np.abs(again.astype(int) - once).mean() < 1.5 < np.abs(once.astype(int) - image).mean()


def stained(hematoxylin: tuple[float, ...], eosin: tuple[float, ...]) -> np.ndarray:
    """Return an image of two stains (Beer-Lambert), with the same random amounts for any stain colors."""
    amounts = np.random.default_rng(0).gamma(2, 0.4, (96, 96, 2))
    return (255 * np.exp(-amounts @ np.array([hematoxylin, eosin]))).astype(np.uint8)


def test_stain_is_normalized_or_the_patch_is_left_out():
    staining = build_normalization("macenko", per="patch")
    labs = [stained((0.65, 0.70, 0.29), (0.07, 0.99, 0.11)), stained((0.52, 0.75, 0.41), (0.12, 0.95, 0.28))]
    first, second = (decode_png(blinded_png(picture, staining=staining)).astype(int) for picture in labs)
    assert np.abs(first - second).mean() < 0.2 * np.abs(labs[0].astype(int) - labs[1]).mean()
    with pytest.raises(BlindingError, match="skipped:too-few-pixels"):
        blinded_png(np.full((64, 64, 3), 250, np.uint8), staining=staining)
