"""Series of DICOM files: the files of one slide are one slide, whatever the others beside it are."""

import json
from pathlib import Path

import numpy as np
import pytest

from dicom_files import EXPLICIT, IMPLICIT, delimited, dicom, element, picture, write_instance, write_series
from histosynth.config import PatchSettings
from histosynth.errors import HistosynthError
from histosynth.inspect.describe import describe
from histosynth.patches.extract import extract
from histosynth.slides.dicom import Instance, read_instance
from histosynth.slides.files import find_slides, slide_id_of
from histosynth.slides.open import open_slide
from histosynth.slides.types import Box
from limits import bounded
from mutations import Mutations


def test_files_of_a_series_are_one_slide_named_by_its_full_resolution(tmp_path: Path) -> None:
    pixels = write_series(tmp_path / "a", "mzb", series="1.2.3.4")
    write_series(tmp_path / "a", "cad", series="1.2.3.5", undefined=True, seed=1)
    assert find_slides([tmp_path / "a"]) == [tmp_path / "a" / "c.dcm", tmp_path / "a" / "m.dcm"]
    assert find_slides(sorted((tmp_path / "a").iterdir())) == find_slides([tmp_path / "a"])
    assert find_slides([tmp_path / "a" / "z.dcm"]) == [tmp_path / "a" / "z.dcm"]  # as named
    assert describe(tmp_path / "a")["slides"] == ["c.dcm", "m.dcm"]
    with open_slide(tmp_path / "a" / "m.dcm") as slide:
        assert (slide.slide_id, slide.mpp, len(slide.levels)) == ("m", 0.5, 3)
        assert np.abs(slide.read(Box(x=16, y=32, width=96, height=80)) - pixels[32:112, 16:112].astype(int)).mean() < 2


def test_patches_of_a_series_are_extracted_once_and_bad_files_are_skipped_by_name(tmp_path: Path) -> None:
    pixels = write_series(tmp_path / "a", "mzb", series="1.2.3.4")
    write_instance(tmp_path / "a" / "tiny.dcm", picture(16), series="1.2.3.6", mpp=0.5)
    (tmp_path / "a" / "broken.dcm").write_bytes((tmp_path / "a" / "m.dcm").read_bytes()[:300])
    (tmp_path / "a" / "other.dcm").write_bytes(b"no DICOM")
    settings = PatchSettings(region_px=64, region_mpp=0.5, patch_px=64, cap=50, quality=False, min_tissue=0)
    with pytest.raises(HistosynthError, match=r"3 slides cannot be used, .*broken.*\(the others: other, tiny\)"):
        extract([tmp_path / "a"], out=tmp_path / "out", settings=settings, workers=1, progress=False)
    result = extract(
        [tmp_path / "a"], out=tmp_path / "out", settings=settings, workers=1, progress=False, skip_bad_slides=True
    )
    assert sorted(result.slides_skipped) == ["broken", "other", "tiny"]
    assert (result.slides_done, result.patches) == (1, (len(pixels) // 64) ** 2)
    slides = json.loads((tmp_path / "out" / "manifest.json").read_text())["slides"]
    assert {slide["slide_id"]: slide["status"] for slide in slides} == {
        "broken": "skipped", "m": "done", "other": "skipped", "tiny": "skipped",
    }  # fmt: skip


def test_a_series_in_two_folders_is_an_error(tmp_path: Path) -> None:
    write_series(tmp_path / "a", "mzb", series="1.2.3.4")
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "z.dcm").rename(tmp_path / "b" / "z.dcm")
    with pytest.raises(HistosynthError, match=r"series 1\.2\.3\.4 lie in several folders, such as .*/a and .*/b; put"):
        find_slides([tmp_path / "a", tmp_path / "b"])
    assert find_slides([tmp_path / "b"]) == [tmp_path / "b" / "z.dcm"]


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_the_series_is_that_of_the_instance_and_not_of_a_nested_one(
    syntax: str, undefined: bool, tmp_path: Path
) -> None:
    implicit = syntax == IMPLICIT
    inner = element(0x0020000E, "UI", "9.9", implicit=implicit)
    nested = delimited(0x00081115, delimited(0x00081199, inner, undefined=undefined, implicit=implicit),
                       undefined=undefined, implicit=implicit)  # fmt: skip
    # A type that the writer did not know holds implicit elements (PS3.5, 6.2.2).
    unknown = delimited(0x00091001, element(0x0020000E, "UI", "8.8", implicit=True), undefined=undefined,
                        implicit=implicit, kind="UN")  # fmt: skip
    series = element(0x0020000E, "UI", "1.2.3", implicit=implicit)
    size = element(0x00480006, "UL", 70_000, implicit=implicit) + element(0x00480007, "UL", 9, implicit=implicit)
    (tmp_path / "a.dcm").write_bytes(dicom(nested + unknown + series + size, syntax=syntax))
    assert read_instance(tmp_path / "a.dcm") == Instance("1.2.3", 630_000)
    (tmp_path / "a.dcm").write_bytes(dicom(nested + unknown, syntax=syntax))
    assert read_instance(tmp_path / "a.dcm") is None


def test_damaged_headers_are_read_or_not_in_bounded_time(tmp_path: Path) -> None:
    path = write_instance(tmp_path / "a.dcm", picture(64), series="1.2.3.4", mpp=0.5, undefined=True)
    whole, content = read_instance(path), path.read_bytes()
    outcomes = []
    for copy in Mutations(content[:1000], count=500):
        path.write_bytes(copy)
        outcomes.append(read_instance(path))
    assert min(outcomes.count(whole), outcomes.count(None)) > 50
    path.write_bytes(content[:132] + bytes(50_000_000))  # elements without order or end
    with bounded("elements without end"):
        assert read_instance(path) is None


def test_the_id_of_a_dicom_file_lacks_the_suffix(tmp_path: Path) -> None:
    assert slide_id_of(tmp_path / "a.dcm") == "a"
