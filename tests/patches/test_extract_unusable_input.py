"""What `extract` does with slides, outlines and directories that it cannot use: it reports, skips or rejects them."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from histosynth.config import PatchSettings
from histosynth.errors import HistosynthError
from histosynth.patches.extract import ExtractionResult, extract
from histosynth.slides.phantom.cohort import write_pyramid

Content = Callable[[Path], dict[str, bytes]]


def run(cohort: Any, out: Path, settings: PatchSettings, **changes: Any) -> ExtractionResult:
    given: dict[str, Any] = {**cohort.inputs, "workers": 1, "progress": False, **changes}
    return extract(given.pop("slides"), out=out, settings=settings, **given)


def read_manifest(out: Path) -> dict[str, Any]:
    return json.loads((out / "manifest.json").read_text())


def test_slides_without_label_or_outline_and_labels_without_slide_are_reported(
    draw_cohort: Any, small: PatchSettings, tmp_path: Path
) -> None:
    cohort = draw_cohort(4)
    (cohort.outlines / "S2.geojson").unlink()
    rows = [line for line in cohort.labels.read_text().splitlines() if not line.startswith("S3")]
    cohort.labels.write_text("\n".join([*rows, "S9,P9,wt"]))
    result = run(cohort, tmp_path / "store", small)
    assert result.slides_skipped == {"S2": "no outline file", "S3": "no label in labels.csv"}
    assert result.labels_without_slide == ("S9",)
    manifest = read_manifest(tmp_path / "store")
    assert manifest["labels_table"]["without_slide"] == ["S9"]
    assert [(slide["slide_id"], slide["status"], slide["reason"]) for slide in manifest["slides"][2:]] == [
        ("S2", "skipped", "no outline file"),
        ("S3", "skipped", "no label in labels.csv"),
    ]
    assert (manifest["totals"]["slides_done"], manifest["totals"]["slides_skipped"]) == (2, 2)


def test_bad_slides_are_skipped_only_on_request(draw_cohort: Any, small: PatchSettings, tmp_path: Path) -> None:
    cohort, out = draw_cohort(4), tmp_path / "store"
    (cohort.slides / "S1.png").write_bytes(b"no image")
    cohort.add("S3", np.full((24, 24, 3), 200, np.uint8))
    with pytest.raises(HistosynthError, match=r"2 slides cannot be used, the first .*S1.*; .*--skip-bad-slides"):
        run(cohort, out, small)
    assert not out.exists()
    result = run(cohort, out, small, skip_bad_slides=True)
    assert list(result.slides_skipped) == ["S1", "S3"]
    assert "smaller than one region of 32 x 32 px" in read_manifest(out)["slides"][3]["reason"]
    assert {slide["status"] for slide in read_manifest(out)["slides"][::2]} == {"done"}


@pytest.mark.parametrize("workers", [1, 2])
def test_slide_with_damaged_pixels_is_reported_or_skipped(
    draw_cohort: Any, small: PatchSettings, tmp_path: Path, workers: int
) -> None:
    cohort, out = draw_cohort(3), tmp_path / "store"
    image = np.asarray(Image.open(cohort.slides / "S1.png"))
    (cohort.slides / "S1.png").unlink()
    damaged = cohort.slides / "S1.tif"
    write_pyramid(damaged, image, mpp=0.5)
    with tifffile.TiffFile(damaged) as tiff:
        start, length = tiff.pages[0].dataoffsets[0], tiff.pages[0].databytecounts[0]
    data = bytearray(damaged.read_bytes())
    data[start : start + length] = bytes(length)
    damaged.write_bytes(data)
    with pytest.raises(HistosynthError, match=r"S1.tif cannot be read"):
        run(cohort, out, small, workers=workers)
    assert not (out / "manifest.json").exists()
    assert not list(out.glob(".*"))
    result = run(cohort, out, small, workers=workers, skip_bad_slides=True)
    assert (result.slides_done, list(result.slides_skipped)) == (2, ["S1"])
    assert "S1.tif cannot be read" in read_manifest(out)["slides"][1]["reason"]


def test_slide_without_patches_is_done_and_reported(draw_cohort: Any, small: PatchSettings, tmp_path: Path) -> None:
    cohort = draw_cohort(2)
    cohort.add("S1", np.full((256, 256, 3), 245, np.uint8))
    result = run(cohort, tmp_path / "store", small)
    assert (result.slides_done, result.slides_without_patch) == (2, ("S1",))
    manifest = read_manifest(tmp_path / "store")
    assert manifest["slides"][1]["rejected"]["too_little_tissue"] > 0
    assert manifest["patients"]["train"] + manifest["patients"]["held_out"] == ["P0"]


def test_self_crossing_outline_is_repaired_and_counted(draw_cohort: Any, small: PatchSettings, tmp_path: Path) -> None:
    cohort = draw_cohort(1)
    cohort.outline("S0", [[30, 30], [226, 226], [226, 30], [30, 226]])
    result = run(cohort, tmp_path / "store", small)
    assert read_manifest(tmp_path / "store")["slides"][0]["outlines"]["repaired"] == 1
    assert result.patches > 0


def test_store_of_other_slides_is_not_changed(
    draw_cohort: Any, small: PatchSettings, tmp_path: Path, content: Content
) -> None:
    cohort, out = draw_cohort(2), tmp_path / "store"
    run(cohort, out, small)
    before = content(out)
    with pytest.raises(
        HistosynthError, match=r"holds 1 part\(s\) of slides that this command does not name, such as part-S1"
    ):
        run(cohort, out, small, slides=[cohort.slides / "S0.png"])
    assert content(out) == before


def test_directory_of_another_kind_is_not_changed(draw_cohort: Any, small: PatchSettings, tmp_path: Path) -> None:
    cohort = draw_cohort(1)
    with pytest.raises(HistosynthError, match="is not a patch store and not empty"):
        run(cohort, cohort.root, small)
    with pytest.raises(HistosynthError, match="is a file; pass a directory"):
        run(cohort, cohort.labels, small)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text('{"kind": "training run"}')
    with pytest.raises(HistosynthError, match="is a training run, not a patch store"):
        run(cohort, tmp_path / "run", small)


def test_slides_that_cannot_be_used_do_not_end_the_cohort(draw_cohort: Any, small: PatchSettings) -> None:
    cohort = draw_cohort(1)
    content = (cohort.slides / "S0.png").read_bytes()
    long, invalid = "n" * 240, os.fsdecode(b"caf\xe9")
    for name in (long, invalid):
        (cohort.slides / f"{name}.png").write_bytes(content)
    (cohort.slides / "leica.lif").write_bytes(b"LIF")
    result = extract([cohort.slides], out=cohort.root / "store", settings=small, mpp=0.5, skip_bad_slides=True)
    assert result.slides_done == 1
    assert result.slides_skipped.keys() == {long, "caf\\udce9", "leica"}
    assert "has a name of 240 bytes" in result.slides_skipped[long]
    assert "not valid UTF-8; rename it" in result.slides_skipped["caf\\udce9"]
    assert "no reader supports" in result.slides_skipped["leica"]
