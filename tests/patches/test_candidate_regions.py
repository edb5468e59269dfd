"""Selection of regions, from slides to a store: caps, quality control, and position in the tumor of phantoms."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from histosynth.config import PatchSettings
from histosynth.errors import HistosynthError
from histosynth.patches.extract import extract
from histosynth.patches.plan import slide_caps
from histosynth.slides.phantom.cohort import draw_cohort as draw_phantoms
from histosynth.store.store import Store

PLACEMENTS = [{}, {"jitter": 0.5}, {"placement": "random"}, {"stride": 0.5}]


def corners_by_slide(out: Path) -> dict[str, set[tuple[int, int]]]:
    rows = Store(out).table.select(["slide_id", "x", "y"]).to_pylist()
    corners: dict[str, set[tuple[int, int]]] = {}
    for row in rows:
        corners.setdefault(row["slide_id"], set()).add((row["x"], row["y"]))
    assert sum(map(len, corners.values())) == len(rows)
    return corners


def run(cohort: Any, out: Path, settings: PatchSettings, **changes: Any) -> Path:
    given = {**cohort.inputs, "workers": 1, "progress": False, **changes}
    extract(given.pop("slides"), out=out, settings=settings, **given)
    return out


@pytest.mark.parametrize("placement", PLACEMENTS, ids=str)
def test_raising_the_cap_keeps_earlier_patches(
    draw_cohort: Any, small: PatchSettings, tmp_path: Path, placement: dict[str, Any]
) -> None:
    cohort, before = draw_cohort(2), {"S0": set(), "S1": set()}
    for cap in (1, 5, 12, 1000):
        out = run(cohort, tmp_path / str(cap), small.model_copy(update={**placement, "cap": cap}))
        now = corners_by_slide(out)
        assert all(before[name] < now[name] and len(now[name]) <= cap for name in now)
        before = now
    manifest = json.loads((tmp_path / "1000" / "manifest.json").read_text())
    assert [slide["candidates"] for slide in manifest["slides"]] == [
        slide["patches"] + sum(slide["rejected"].values()) for slide in manifest["slides"]
    ]


@pytest.mark.parametrize("placement", PLACEMENTS, ids=str)
def test_another_slide_changes_no_patch_of_others(
    draw_cohort: Any, small: PatchSettings, tmp_path: Path, placement: dict[str, Any]
) -> None:
    cohort, settings = draw_cohort(3), small.model_copy(update=placement)
    of_all = corners_by_slide(run(cohort, tmp_path / "all", settings))
    alone = corners_by_slide(run(cohort, tmp_path / "one", settings, slides=[cohort.slides / "S1.png"]))
    assert alone["S1"] == of_all["S1"] != of_all["S0"]
    seeded = corners_by_slide(run(cohort, tmp_path / "seed", settings.model_copy(update={"seed": 1})))
    assert seeded["S1"] != of_all["S1"]


def test_regions_are_read_until_the_cap_is_filled(draw_cohort: Any, small: PatchSettings, tmp_path: Path) -> None:
    cohort = draw_cohort(1)
    slide = np.asarray(Image.open(cohort.slides / "S0.png")).copy()
    clean = corners_by_slide(run(cohort, tmp_path / "clean", small))["S0"]
    slide[:, :128] = ndimage.gaussian_filter(slide[:, :128], (6, 6, 0))
    cohort.add("S0", slide)
    out = run(cohort, tmp_path / "store", small)
    selected, record = corners_by_slide(out)["S0"], json.loads((out / "manifest.json").read_text())["slides"][0]
    assert len(selected) == 12 == record["patches"]
    assert all(x >= 96 for x, _ in selected)  # 96 to 128 may count as sharp: the border runs beside it
    assert {corner for corner in clean if corner[0] >= 128} <= selected
    assert record["rejected"]["blurred"] > 0
    assert record["candidates"] == 12 + sum(record["rejected"].values())
    assert "flawed" not in record
    unchecked = run(cohort, tmp_path / "unchecked", small.model_copy(update={"quality": False}))
    assert corners_by_slide(unchecked)["S0"] == clean
    assert "blurred" not in json.loads((unchecked / "manifest.json").read_text())["slides"][0]["rejected"]


def test_cohort_out_of_focus_is_an_error_that_names_the_flaw(
    draw_cohort: Any, small: PatchSettings, tmp_path: Path
) -> None:
    cohort = draw_cohort(1)
    slide = np.asarray(Image.open(cohort.slides / "S0.png"))
    cohort.add("S0", ndimage.gaussian_filter(slide, (8, 8, 0)))
    with pytest.raises(HistosynthError, match=r"no region became a patch .*\d+ blurred.*patches\.quality=false"):
        run(cohort, tmp_path / "store", small)


def test_cap_per_patient_is_divided_among_slides(draw_cohort: Any, small: PatchSettings, tmp_path: Path) -> None:
    cohort = draw_cohort(4)
    cohort.labels.write_text("slide_id,patient_id,label\nS0,A,wt\nS1,A,wt\nS2,A,wt\nS3,B,codel\n")
    settings = small.model_copy(update={"cap_per_patient": 8})
    out = run(cohort, tmp_path / "store", settings)
    assert {name: len(corners) for name, corners in corners_by_slide(out).items()} == {
        "S0": 3,
        "S1": 3,
        "S2": 2,
        "S3": 8,
    }
    parts = {part.name: part.stat().st_mtime_ns for part in out.glob("part-*")}
    run(cohort, out, settings.model_copy(update={"cap_per_patient": 9}))
    remade = {part.name for part in out.glob("part-*") if part.stat().st_mtime_ns != parts[part.name]}
    assert remade == {"part-S2.parquet", "part-S3.parquet"}


def test_slide_caps_divide_the_cap_per_patient() -> None:
    patients = {"b": "P", "a": "P", "c": "Q", "d": "P"}

    def caps(cap: int, per_patient: int) -> dict[str, int]:
        return slide_caps(patients, PatchSettings(cap=cap, cap_per_patient=per_patient))

    assert caps(10, 0) == dict.fromkeys(patients, 10)
    assert caps(10, 20) == {"a": 7, "b": 7, "d": 6, "c": 10}
    assert caps(5, 20) == dict.fromkeys(patients, 5)
    assert caps(10, 2) == {"a": 1, "b": 1, "d": 0, "c": 2}


@pytest.mark.parametrize("placement", [{}, {"placement": "random"}, {"jitter": 0.8, "stride": 0.5}], ids=str)
def test_patches_lie_in_the_true_tumor_and_at_their_recorded_position(
    tmp_path: Path, placement: dict[str, Any]
) -> None:
    phantoms = draw_phantoms(tmp_path / "phantoms", patients_per_genotype=1, size_px=1024, workers=1, progress=False)
    settings = PatchSettings(
        region_px=80, region_mpp=0.5, patch_px=40, cap=40, min_tumor=1.0, stain="none", held_out=0.0
    ).model_copy(update=placement)
    given = {"outlines": phantoms.outlines, "labels": phantoms.labels, "workers": 1, "progress": False}
    result = extract([phantoms.slides], out=tmp_path / "store", settings=settings, **given)
    assert sum(result.rejected[name] for name in ("near_blank", "pen", "dark_line", "blurred")) == 0
    store = Store(tmp_path / "store")
    rows = store.table.drop_columns("image").to_pylist()
    images = store.images(range(len(store)))
    for slide_id in sorted({row["slide_id"] for row in rows}):
        level0 = tifffile.imread(phantoms.slides / f"{slide_id}.tif", key=0).astype(int)
        truth = pq.read_table(phantoms.truth / f"{slide_id}.parquet")
        nuclei = np.stack([truth.column("y").to_numpy(), truth.column("x").to_numpy()], axis=1)
        of_brain = np.isin(truth.column("kind").to_pylist(), ["glia", "neuron"])
        brain = tumor = 0
        match = np.zeros((5, 5))
        for row, image in zip(rows, images, strict=True):
            if row["slide_id"] != slide_id:
                continue
            x, y = row["x"], row["y"]
            region = level0[y : y + 80, x : x + 80]
            # Tolerance: two decoders of JPEG.
            assert abs(image - region.reshape(40, 2, 40, 2, 3).mean((1, 3))).mean() < 1
            here = ((nuclei >= [y, x]) & (nuclei < [y + 80, x + 80])).all(axis=1)
            brain, tumor = brain + np.sum(here & of_brain), tumor + np.sum(here & ~of_brain)
            # A nucleus measures about seven microns, a pixel of a patch one.
            dark = ndimage.uniform_filter(255 - image[..., 0].astype(float), 7)
            centers = ((nuclei[here] - [y, x]) / 2).astype(int)
            centers = centers[((centers >= 5) & (centers < 35)).all(axis=1)]
            for dy in range(-2, 3):
                for dx in range(-2, 3):
                    match[dy + 2, dx + 2] += dark[centers[:, 0] + dy, centers[:, 1] + dx].sum()
        assert tumor > 100
        assert brain / tumor < 0.02  # the edge of the tumor is frayed by a few microns
        assert np.unravel_index(match.argmax(), match.shape) == (2, 2)
