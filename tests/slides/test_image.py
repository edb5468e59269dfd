import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from histosynth.errors import HistosynthError
from histosynth.slides.compositing import composite_on_white
from histosynth.slides.image import ImageReader
from histosynth.slides.open import open_slide
from histosynth.slides.types import Box
from limits import bounded

RGB = np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> ImageReader:
    return ImageReader(save(tmp_path_factory.mktemp("region") / "a.png", Image.fromarray(RGB)))


@given(st.integers(-60, 60), st.integers(-60, 60), st.integers(1, 80), st.integers(1, 80))
def test_boxes_are_white_outside_the_image(region: ImageReader, x: int, y: int, width: int, height: int) -> None:
    sheet = np.full((300, 300, 3), 255, np.uint8)
    sheet[100:130, 100:140] = RGB
    assert np.array_equal(
        region.read(Box(x=x, y=y, width=width, height=height)), sheet[100 + y :, 100 + x :][:height, :width]
    )


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_lossless_formats_are_read_exactly(tmp_path: Path, suffix: str) -> None:
    with open_slide(save(tmp_path / f"a{suffix}", Image.fromarray(RGB))) as slide:
        assert (slide.width_px, slide.height_px, slide.mpp) == (40, 30, None)
        assert np.array_equal(slide.read(Box(x=0, y=0, width=40, height=30)), RGB)


def test_jpeg_agrees_with_pillow(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.fromarray(RGB), quality=90)
    with open_slide(path) as slide, Image.open(path) as reference:
        assert np.array_equal(slide.read(Box(x=0, y=0, width=40, height=30)), np.asarray(reference))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_white(tmp_path: Path, mode: str) -> None:
    image = Image.new(mode, (4, 2), (80,) * (len(mode) - 1) + (255,))
    image.putpixel((3, 1), (0,) * len(mode))
    with open_slide(save(tmp_path / "a.png", image)) as slide:
        pixels = slide.read(Box(x=0, y=0, width=4, height=2))
    assert pixels[1, 3].tolist() == [255, 255, 255]
    assert (pixels[0] == 80).all()


def test_palette_and_gray_images_become_rgb(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    with open_slide(save(tmp_path / "p.png", palette, transparency=1)) as slide:
        assert slide.read(Box(x=0, y=0, width=2, height=1)).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    with open_slide(save(tmp_path / "l.png", Image.new("L", (2, 1), 70))) as slide:
        assert (slide.read(Box(x=0, y=0, width=2, height=1)) == 70).all()


@pytest.mark.parametrize("mode", ["I;16", "F", "CMYK"])
def test_other_pixel_types_are_rejected(tmp_path: Path, mode: str) -> None:
    with pytest.raises(HistosynthError, match=f"pixels of type {mode}; save it as 8-bit RGB"):
        open_slide(save(tmp_path / "a.tif", Image.new(mode, (4, 4))))


def test_several_pages_are_rejected(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((3, 16, 16, 3), np.uint8), photometric="rgb")
    with pytest.raises(HistosynthError, match=r"stack\.tif has several pages"):
        open_slide(tmp_path / "stack.tif")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9])
def test_truncated_image_gives_a_one_line_error(tmp_path: Path, suffix: str, share: float) -> None:
    content = save(tmp_path / f"a{suffix}", Image.fromarray(RGB)).read_bytes()
    path = tmp_path / f"short{suffix}"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(HistosynthError, match=r"image .*short\.\w+ cannot be read") as caught:
        open_slide(path)
    assert "\n" not in str(caught.value)
    assert ("the file is empty" in str(caught.value)) == (share == 0)


def test_other_format_with_a_supported_suffix_is_rejected(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png", format="BMP")
    with pytest.raises(HistosynthError, match=r"a\.png cannot be read"):
        open_slide(tmp_path / "a.png")


def test_only_images_beyond_the_limit_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(RGB))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30 * 40 // 3)
    with pytest.raises(HistosynthError, match=r"too large to be read completely .* pyramidal TIFF"):
        open_slide(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30 * 40 - 1)
    open_slide(path).close()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
@pytest.mark.parametrize(
    ("mode", "name"),
    [
        *((mode, "a.png") for mode in ("L", "LA", "P", "RGB", "RGBA")),
        ("L", "a.jpg"),
        ("RGB", "a.jpg"),
        ("RGB", "a.tif"),
    ],
)
def test_an_image_takes_eleven_bytes_per_pixel(tmp_path: Path, mode: str, name: str) -> None:
    """So that one of Pillow's limit, 179 million pixels, takes 2 GB; its pixels are those of the whole image."""
    side = 2500
    gradient = np.linspace(0, 255, side, dtype=np.uint8)[:, None].repeat(side, 1)
    whole = Image.merge("RGBA", [Image.fromarray(c) for c in (gradient, gradient.T, gradient, gradient[::-1])])
    whole = whole.convert("RGB" if mode in {"L", "P"} else mode).convert(mode)
    options = {"a.png": {"compress_level": 1}, "a.jpg": {"progressive": True, "subsampling": 0}}
    path = save(tmp_path / name, whole, **options.get(name, {}))
    with bounded(mode, memory_bytes=11 * side**2):
        image = ImageReader(path)
    with Image.open(path) as reference:
        expected = composite_on_white(np.asarray(reference.convert("RGBA")))
    assert np.array_equal(image.read(Box(x=0, y=0, width=side, height=side)), expected)


@pytest.mark.parametrize(("dpi", "mpp"), [(0, None), (72, None), (300, None), (25_400, 1.0), (50_800, 0.5)])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_only_plausible_resolutions_are_used(tmp_path: Path, suffix: str, dpi: int, mpp: float | None) -> None:
    with open_slide(save(tmp_path / f"a{suffix}", Image.fromarray(RGB), dpi=(dpi, dpi))) as slide:
        assert slide.mpp == (None if mpp is None else pytest.approx(mpp, rel=1e-3))


def test_thumbnail_averages_and_never_enlarges(tmp_path: Path) -> None:
    checks = (np.indices((30, 40)).sum(axis=0) % 2 * 200).astype(np.uint8)
    with open_slide(save(tmp_path / "a.png", Image.fromarray(checks))) as slide:
        assert slide.thumbnail(20).shape == (15, 20, 3)
        assert (slide.thumbnail(20) == 100).all()
        assert slide.thumbnail(1000).shape == (30, 40, 3)


@pytest.mark.real
def test_real_glioma_regions(shared_data: Path) -> None:
    for path in sorted((shared_data / "glioma_cpm15" / "images").glob("*.png")):
        with open_slide(path, mpp=0.25) as slide, Image.open(path) as reference:
            assert slide.mpp == 0.25
            assert np.array_equal(
                slide.read(Box(x=0, y=0, width=slide.width_px, height=slide.height_px)), np.asarray(reference)[..., :3]
            )
