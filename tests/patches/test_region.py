"""Position and scale of patches read from any level, on images whose averages are known."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from histosynth.config import PatchSettings
from histosynth.patches.extract import extract
from histosynth.patches.region import read_region, region_extent
from histosynth.slides.open import open_slide
from histosynth.slides.phantom.files import write_pyramid
from histosynth.slides.types import Box
from histosynth.store.store import Store
from histosynth.store.threads import map_in_threads

SIDE = 1024
SLOPE = np.array([0.2137, 0.1931, 0])  # gray levels per pixel, along x in red and along y in green
FLOOR, NOISE = 14, 6  # gray


@pytest.fixture(scope="module")
def ramp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a plane at downsamples 1, 2 and 5: the average of a square is the value at its center.

    Noise averages out rounding; any three neighboring values of it add up to zero.
    """
    y, x = np.mgrid[:SIDE, :SIDE]
    first, second = np.random.default_rng(0).uniform(-NOISE, NOISE, (2, SIDE, SIDE // 3 + 1, 3))
    noise = np.stack([first, second, -first - second], axis=2).reshape(SIDE, -1, 3)[:, :SIDE]
    whole = np.stack([x, y, 0 * x], axis=2) * SLOPE + FLOOR + noise
    path = tmp_path_factory.mktemp("ramp") / "ramp.tif"
    with tifffile.TiffWriter(path) as tiff:
        for n, ratio in enumerate((1, 2, 5)):
            side = SIDE // ratio * ratio
            level = whole[:side, :side].reshape(side // ratio, ratio, side // ratio, ratio, 3).mean((1, 3))
            pixels = np.floor(level + 0.5).astype(np.uint8)
            tiff.write(pixels, tile=(256, 256), photometric="rgb", subfiletype=min(n, 1), metadata=None)
    return path


@pytest.mark.parametrize("source", ["base", "best_level"])
@pytest.mark.parametrize("reader", ["tiff", "openslide"])
@settings(max_examples=15)
@given(x=st.integers(0, 400), y=st.integers(0, 400), mpp=st.floats(0.2, 0.55), region_mpp=st.floats(0.25, 1.2))
def test_center_is_exact_at_any_scale(
    ramp: Path, source: str, reader: str, x: int, y: int, mpp: float, region_mpp: float
) -> None:
    wanted = PatchSettings(region_px=100, region_mpp=region_mpp, patch_px=40, read=source)
    extent = region_extent(wanted, mpp=mpp)
    assert abs(100 * region_mpp / mpp - extent) <= 0.5
    with open_slide(ramp, reader=reader) as slide:
        box = Box(x=x, y=y, width=extent, height=extent)
        patch = read_region(slide, box, side_px=40, source=wanted.read).scaled(40)
    center = (patch.mean((0, 1))[:2] - FLOOR) / SLOPE[:2] + 0.5  # a pixel has the value of its upper left corner
    # Where whole gray values coincide with the ramp, rounding leaves up to a quarter of a level: about one pixel.
    assert center == pytest.approx([x + extent / 2, y + extent / 2], abs=1.25)


def test_base_is_the_exact_average_and_best_level_equals_it_without_loss(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    coarse = np.asarray(Image.fromarray(image).reduce(4))
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for n, level in enumerate((image, coarse)):
            tiff.write(level, tile=(128, 128), photometric="rgb", subfiletype=n, metadata=None)
    with open_slide(tmp_path / "a.tif") as slide:
        box = Box(x=100, y=200, width=512, height=512)
        base = read_region(slide, box, side_px=128, source="base").scaled(128)
        best = read_region(slide, box, side_px=128, source="best_level").scaled(128)
    expected = image[200:712, 100:612].reshape(128, 4, 128, 4, 3).mean((1, 3))
    np.testing.assert_array_equal(base, np.floor(expected + 0.5))
    np.testing.assert_array_equal(best, base)  # lossless, and the corner is a pixel of the level


def test_best_level_is_never_coarser_than_the_patch(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(image, tile=(128, 128), photometric="rgb", metadata=None)
        tiff.write(np.zeros((256, 256, 3), np.uint8), tile=(128, 128), photometric="rgb", subfiletype=1, metadata=None)
    with open_slide(tmp_path / "a.tif") as slide:
        for side, black in [(512, True), (510, False), (300, False)]:
            box = Box(x=3, y=9, width=side, height=side)
            patch = read_region(slide, box, side_px=128, source="best_level").scaled(128)
            assert (patch == 0).all() == black
            if not black:
                np.testing.assert_array_equal(patch, read_region(slide, box, side_px=128, source="base").scaled(128))


def tissue_picture(side: int) -> np.ndarray:
    """Return nuclei with soft edges on eosin, (side, side, 3)."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:side, :side]
    nuclei = np.zeros((side, side))
    for cx, cy, r in zip(*rng.uniform((0,), (side,), (2, 250)), rng.uniform(6, 14, 250), strict=True):
        left, top = max(0, int(cx) - 40), max(0, int(cy) - 40)
        part = np.s_[top : top + 80, left : left + 80]
        nuclei[part] = np.maximum(nuclei[part], 1 / (1 + np.exp(np.hypot(x[part] - cx, y[part] - cy) - r)))
    density = (0.2 + nuclei)[..., None] * [0.56, 0.72, 0.41] + 0.7 * np.array([0.22, 0.80, 0.56])
    return (240 * np.exp(-density)).astype(np.uint8)


@pytest.mark.parametrize("read", ["base", "best_level"])
def test_scans_of_20x_and_40x_give_similar_patches(tmp_path: Path, read: str) -> None:
    fine = tissue_picture(1024)
    folder = tmp_path / "slides"
    folder.mkdir()
    write_pyramid(folder / "x40.tif", fine, mpp=0.25)
    write_pyramid(folder / "x20.tif", np.asarray(Image.fromarray(fine).reduce(2)), mpp=0.5)
    wanted = PatchSettings(region_px=256, region_mpp=0.25, patch_px=64, read=read, stain="none", min_tissue=0)
    extract([folder], out=tmp_path / "store", settings=wanted, workers=1, progress=False)
    store = Store(tmp_path / "store")
    images = store.images(range(len(store))).astype(float)
    patches = {"x20": {}, "x40": {}}
    for n, (name, x, y) in enumerate(zip(*map(store.column, ("slide_id", "x", "y")), strict=True)):
        microns = 0.5 if name == "x20" else 0.25
        patches[name][x * microns, y * microns] = images[n]
    assert patches["x20"].keys() == patches["x40"].keys()
    assert len(patches["x20"]) == 16
    for position, coarse in patches["x20"].items():
        error = np.mean((coarse - patches["x40"][position]) ** 2)
        assert 10 * np.log10(255**2 / error) > 30


def test_number_of_threads_changes_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object) -> None:
    write_pyramid(tmp_path / "a.tif", tissue_picture(1024), mpp=0.25)
    wanted = PatchSettings(region_px=256, region_mpp=0.25, patch_px=64)
    for cores in (1, 3):
        monkeypatch.setattr("histosynth.store.threads.available_cores", lambda cores=cores: cores)
        extract([tmp_path / "a.tif"], out=tmp_path / f"{cores}", settings=wanted, workers=1, progress=False)
    assert content(tmp_path / "1") == content(tmp_path / "3")


def test_threads_preserve_order_and_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("histosynth.store.threads.available_cores", lambda: 3)
    assert list(map_in_threads(lambda n: n * n, range(100))) == [n * n for n in range(100)]
    with pytest.raises(ZeroDivisionError):
        list(map_in_threads(lambda n: 1 // n, [1, 0, 2]))
