"""Slides of several DICOM files: bad ones are skipped with a reason, and a change of any file is noticed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dicom_files import picture, write_instance, write_series

Verb = Callable[..., tuple[int, str, str]]
SMALL = (
    "--workers", 1, "--quiet", "--set", "patches.region_px=64", "--set", "patches.region_mpp=0.5",
    "--set", "patches.patch_px=64", "--set", "patches.quality=false", "--set", "patches.min_tissue=0",
    "--set", "patches.stain=none",
)  # fmt: skip


def test_a_series_in_two_folders_is_skipped_like_other_bad_slides(verb: Verb, tmp_path: Path) -> None:
    """Also if both folders name their files alike, as some archives do; the slide of another series is extracted."""
    write_series(tmp_path / "a", "mzb", series="1.2.3.4")
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "z.dcm").rename(tmp_path / "b" / "m.dcm")
    arguments = (tmp_path / "a", tmp_path / "b", "--out", tmp_path / "out", *SMALL)
    reason = "the DICOM files of the series 1.2.3.4 lie in several folders"
    code, _, error = verb(*arguments, "--skip-bad-slides")
    assert (code, error.count("\n")) == (2, 1)
    assert "no usable slide is left (1 of 1: unusable; the first is m: " + reason in error
    write_series(tmp_path / "b", "cde", series="1.2.3.5", seed=1)
    code, _, error = verb(*arguments)
    assert (code, error.count("\n")) == (2, 1)
    assert reason in error
    code, _, error = verb(*arguments, "--skip-bad-slides")
    assert code == 0
    assert "1 slide(s) were skipped:\nhistosynth:   m: " + reason in error
    slides = json.loads((tmp_path / "out" / "manifest.json").read_text())["slides"]
    assert [(slide["slide_id"], slide["status"]) for slide in slides] == [("c", "done"), ("m", "skipped")]


@pytest.mark.parametrize("changed", ["m", "z", "b", "new"])
def test_a_changed_file_of_a_series_is_extracted_again(verb: Verb, tmp_path: Path, changed: str) -> None:
    """The three levels of a slide, and another of its files; the other slide of the folder is kept."""
    folder = tmp_path / "a"
    write_series(folder, "mzb", series="1.2.3.4")
    write_series(folder, "cde", series="1.2.3.5", seed=1)
    arguments = (folder, "--out", tmp_path / "out", *SMALL)
    assert verb(*arguments)[0] == 0
    assert "2 slide(s) were complete already" in verb(*arguments)[2]
    side, mpp = {"m": (320, 0.5), "z": (160, 1.0), "b": (80, 2.0), "new": (64, 2.5)}[changed]
    write_instance(folder / f"{changed}.dcm", picture(side, seed=2), series="1.2.3.4", mpp=mpp)
    code, _, error = verb(*arguments)
    assert code == 0
    assert "1 slide(s) were complete already" in error
    assert "1 slide(s) were extracted again because their settings or inputs have changed" in error
