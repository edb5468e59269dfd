from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from histosynth.errors import HistosynthError
from histosynth.slides.compositing import composite_on_white
from histosynth.slides.files import find_slides, slide_id_of
from histosynth.slides.image import ImageReader
from histosynth.slides.mpp import plausible_mpp, require_mpp
from histosynth.slides.open import open_slide
from histosynth.slides.tiff import TiffReader


def png(path: Path) -> Path:
    Image.new("RGB", (40, 30), (200, 100, 150)).save(path)
    return path


@pytest.mark.parametrize(
    ("name", "slide_id"),
    [
        ("TCGA-DB-5270-01Z-00-DX1.svs", "TCGA-DB-5270-01Z-00-DX1"),
        ("TCGA-26-1442.FD8D4EB7-AD5E.svs", "TCGA-26-1442.FD8D4EB7-AD5E"),
        ("a.ome.tif", "a"),
        ("a.b.TIFF", "a.b"),
        ("v1.2", "v1.2"),
    ],
)
def test_slide_id_is_the_name_without_its_suffix(name: str, slide_id: str) -> None:
    assert slide_id_of(Path(name)) == slide_id


def test_find_slides_sorts_files_and_folders_by_id(tmp_path: Path) -> None:
    folder = tmp_path / "cohort"
    folder.mkdir()
    c, a, b = png(folder / "c.png"), png(folder / "a.JPG"), png(tmp_path / "b.png")
    png(folder / ".hidden.png")
    (folder / "labels.csv").write_text("slide_id,label\n")
    assert find_slides([folder, b]) == [a, b, c]
    assert find_slides([c, folder, c]) == [a, c]


def test_find_slides_reports_missing_slides(tmp_path: Path) -> None:
    with pytest.raises(HistosynthError, match=r"no slide or folder '.*absent\.svs'"):
        find_slides([tmp_path / "absent.svs"])
    with pytest.raises(HistosynthError, match="no slide given"):
        find_slides([])
    with pytest.raises(HistosynthError, match=r"no slide in the folder .*\.svs \.svslide"):
        find_slides([tmp_path])
    (tmp_path / "below").mkdir()
    with pytest.raises(HistosynthError, match="subfolders are not searched"):
        find_slides([tmp_path])


def test_duplicate_slide_ids_are_rejected(tmp_path: Path) -> None:
    png(tmp_path / "a.png")
    png(tmp_path / "a.jpg")
    with pytest.raises(HistosynthError, match=r"two slides are called 'a': .*a\.(png|jpg) and .*a\.(png|jpg)"):
        find_slides([tmp_path])


def test_content_of_a_tiff_determines_the_reader(tmp_path: Path) -> None:
    pixels = np.full((256, 256, 3), 99, np.uint8)
    tifffile.imwrite(tmp_path / "tiled.tif", pixels, tile=(128, 128), photometric="rgb")
    tifffile.imwrite(tmp_path / "plain.tif", pixels, photometric="rgb")
    with open_slide(tmp_path / "tiled.tif") as tiled, open_slide(tmp_path / "plain.tif") as plain:
        assert isinstance(tiled, TiffReader)
        assert isinstance(plain, ImageReader)


def test_given_mpp_replaces_only_a_missing_one(tmp_path: Path) -> None:
    bare = png(tmp_path / "bare.png")
    with open_slide(bare, mpp=0.5) as slide:
        assert require_mpp(slide) == 0.5
    with open_slide(bare) as slide, pytest.raises(HistosynthError, match=r"slide bare states no microns .* pass --mpp"):
        require_mpp(slide)
    stated = tmp_path / "stated.png"
    Image.new("RGB", (8, 8)).save(stated, dpi=(25400 / 0.25, 25400 / 0.25))
    with open_slide(stated, mpp=0.5) as slide:
        assert require_mpp(slide) == pytest.approx(0.25, abs=1e-4)


@pytest.mark.parametrize("mpp", [0.0, -0.5, 20.0, float("nan")])
def test_implausible_mpp_is_rejected(tmp_path: Path, mpp: float) -> None:
    with pytest.raises(HistosynthError, match="microns per pixel is out of range"):
        open_slide(png(tmp_path / "a.png"), mpp=mpp)


def test_open_slide_reports_missing_files_and_unknown_readers(tmp_path: Path) -> None:
    with pytest.raises(HistosynthError, match=r"no slide '.*absent\.svs'"):
        open_slide(tmp_path / "absent.svs")
    with pytest.raises(HistosynthError, match=r"unknown reader 'openslid' \(did you mean 'openslide'\?\)"):
        open_slide(png(tmp_path / "a.png"), reader="openslid")


def test_resolutions_of_screens_and_printers_are_not_plausible() -> None:
    assert all(plausible_mpp(25400 / dpi) is None for dpi in (72, 96, 150, 300, 600))
    assert plausible_mpp(0.2520) == 0.2520


@given(arrays(np.uint8, (5, 7, 4)))
def test_compositing_on_white_agrees_with_its_definition(rgba: np.ndarray) -> None:
    alpha = rgba[..., 3:] / 255
    expected = rgba[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(composite_on_white(rgba) - expected).max() <= 0.5 + 1e-9


@given(st.integers(0, 255))
def test_compositing_on_white_keeps_opaque_pixels(value: int) -> None:
    opaque = np.dstack([np.full((2, 3, 3), value, np.uint8), np.full((2, 3), 255, np.uint8)])
    assert (composite_on_white(opaque) == value).all()
    opaque[0, 0] = 0
    assert (composite_on_white(opaque)[0, 0] == 255).all()
