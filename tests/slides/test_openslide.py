from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from histosynth.errors import HistosynthError
from histosynth.slides import pyramid
from histosynth.slides.mpp import require_mpp
from histosynth.slides.open import open_slide
from histosynth.slides.openslide import OpenSlideReader, is_openslide
from histosynth.slides.types import Box

HEIGHT, WIDTH = 300, 500


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def write(path: Path, pixels: np.ndarray, **options: object) -> Path:
    tifffile.imwrite(path, pixels, tile=(128, 128), photometric="rgb", **options)
    return path


def test_pixels_are_exact_and_white_outside(tmp_path: Path, pixels: np.ndarray) -> None:
    padded = np.full((HEIGHT + 200, WIDTH + 200, 3), 255, np.uint8)
    padded[100:-100, 100:-100] = pixels
    with OpenSlideReader(write(tmp_path / "a.tif", pixels)) as slide:
        assert (slide.slide_id, slide.width_px, slide.height_px) == ("a", WIDTH, HEIGHT)
        for x, y, width, height in [(0, 0, WIDTH, HEIGHT), (130, 7, 90, 200), (-50, -30, 99, 88), (450, 270, 100, 77)]:
            region = slide.read(Box(x=x, y=y, width=width, height=height))
            assert np.array_equal(region, padded[100 + y :, 100 + x :][:height, :width])
        assert (slide.read(Box(x=600, y=-90, width=9, height=8)) == 255).all()


def test_tiles_that_were_not_scanned_are_white(tmp_path: Path) -> None:
    def tiles() -> Iterator[np.ndarray | None]:
        yield np.full((128, 128, 3), 50, np.uint8)
        yield None  # sparse: no data on disk

    path = tmp_path / "sparse.tif"
    tifffile.imwrite(path, tiles(), shape=(128, 256, 3), dtype=np.uint8, tile=(128, 128), photometric="rgb")
    with OpenSlideReader(path) as slide:
        whole = slide.read(Box(x=0, y=0, width=256, height=128))
        small = slide.thumbnail(32)
    assert (whole[:, :128] == 50).all()
    assert (whole[:, 128:] == 255).all()
    assert small[8, 4].tolist() == [50, 50, 50]
    assert small[8, 28].tolist() == [255, 255, 255]


@pytest.mark.parametrize("max_px", [16, 50, 125, 1000])
@pytest.mark.parametrize("strip_pixels", [1, 20_000, 1 << 24])
def test_thumbnail_is_independent_of_strips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_px: int, strip_pixels: int
) -> None:
    monkeypatch.setattr(pyramid, "_STRIP_PIXELS", strip_pixels)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    smooth = np.stack([x * 255 / WIDTH, y * 255 / HEIGHT, 0 * x + 100], axis=2).astype(np.uint8)
    with OpenSlideReader(write(tmp_path / "a.tif", smooth)) as slide:
        small = slide.thumbnail(max_px)
    side = min(max_px, WIDTH)
    assert small.shape == (round(HEIGHT * side / WIDTH), side, 3)
    expected = np.asarray(Image.fromarray(smooth).resize(small.shape[1::-1], Image.Resampling.BOX))
    assert np.abs(small.astype(int) - expected).max() <= 2


@pytest.mark.parametrize(
    ("resolution", "unit", "mpp"),
    [((20_000, 20_000), 3, 0.5), ((25_400 / 0.25,) * 2, 2, 0.25), ((72, 72), 2, None), ((40_000, 40_000), 1, None)],
)
def test_only_plausible_tiff_resolutions_give_mpp(
    tmp_path: Path, pixels: np.ndarray, resolution: tuple[float, float], unit: int, mpp: float | None
) -> None:
    with OpenSlideReader(write(tmp_path / "a.tif", pixels, resolution=resolution, resolutionunit=unit)) as slide:
        assert slide.mpp == (None if mpp is None else pytest.approx(mpp))


def test_non_square_pixels_are_rejected(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write(tmp_path / "a.tif", pixels, resolution=(20_000, 40_000), resolutionunit=3)
    with pytest.raises(HistosynthError, match=r"non-square pixels \(0\.5 x 0\.25 microns\)"):
        OpenSlideReader(path)


@pytest.mark.parametrize("content", [b"", b"not a slide", b"II*\0" + b"\xff" * 400, b"\x89PNG\r\n"])
def test_invalid_slide_gives_a_one_line_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.svs"
    path.write_bytes(content)
    assert not is_openslide(path)
    with pytest.raises(HistosynthError, match=r"slide .*bad\.svs cannot be read .*leave it out") as caught:
        open_slide(path)
    assert "\n" not in str(caught.value)
    assert ("empty" in str(caught.value)) == (not content)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_truncated_slide_is_an_error_at_the_latest_when_read(tmp_path: Path, pixels: np.ndarray, share: float) -> None:
    content = write(tmp_path / "whole.tif", pixels).read_bytes()
    path = tmp_path / "short.tif"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(HistosynthError, match=r"short\.tif cannot be read"), OpenSlideReader(path) as slide:
        slide.read(Box(x=0, y=0, width=WIDTH, height=HEIGHT))


def test_damage_is_an_error_when_it_is_read(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write(tmp_path / "a.tif", pixels, compression="jpeg")
    with tifffile.TiffFile(path) as tiff:
        start, length = tiff.pages[0].dataoffsets[-1], tiff.pages[0].databytecounts[-1]
    content = bytearray(path.read_bytes())
    content[start : start + length] = bytes(length)
    path.write_bytes(content)
    with OpenSlideReader(path) as slide:
        slide.read(Box(x=0, y=0, width=128, height=128))
        with pytest.raises(HistosynthError, match=r"a\.tif cannot be read \(OpenSlide: .*copy it again"):
            slide.read(Box(x=WIDTH - 20, y=HEIGHT - 20, width=20, height=20))


@pytest.mark.real
def test_real_slide_agrees_with_openslide(shared_data: Path) -> None:
    path = shared_data / "slides" / "CMU-1-Small-Region.svs"
    with open_slide(path) as slide, openslide.OpenSlide(path) as reference:
        assert require_mpp(slide) == pytest.approx(0.499)
        assert (slide.width_px, slide.height_px) == reference.dimensions
        expected = np.asarray(reference.read_region((500, 900), 0, (300, 200)))
        assert (expected[..., 3] == 255).all()
        assert np.array_equal(slide.read(Box(x=500, y=900, width=300, height=200)), expected[..., :3])
        small = slide.thumbnail(256)
        peer = np.asarray(reference.get_thumbnail((256, 256)))
    assert small.shape == peer.shape
    assert np.abs(small.astype(float) - peer).mean() < 3


@pytest.mark.real
def test_real_slide_without_mpp_accepts_one(shared_data: Path) -> None:
    path = shared_data / "slides" / "TCGA-CR-7395-01A-01-TS1.svs"
    message = "slide TCGA-CR-7395-01A-01-TS1 states no microns per pixel; pass --mpp"
    with open_slide(path) as slide, pytest.raises(HistosynthError, match=message):
        require_mpp(slide)
    with open_slide(path, mpp=0.5) as slide:
        assert require_mpp(slide) == 0.5
        assert slide.read(Box(x=2000, y=1500, width=64, height=32)).shape == (32, 64, 3)


@pytest.mark.real
def test_thumbnail_of_a_real_pyramid(shared_data: Path) -> None:
    with open_slide(shared_data / "lgg_mini" / "slides" / "TCGA-DB-5270-01Z-00-DX1.svs") as slide:
        small = slide.thumbnail(1000)
        whole = slide.read(Box(x=0, y=0, width=slide.width_px, height=slide.height_px))
    expected = np.asarray(Image.fromarray(whole).resize(small.shape[1::-1], Image.Resampling.BOX))
    assert small.shape == (750, 1000, 3)
    assert np.abs(small.astype(float) - expected).mean() < 2
