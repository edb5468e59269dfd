"""What `extract` writes: the right patches and records, and the same bytes when it resumes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from histosynth.config import PatchSettings
from histosynth.errors import HistosynthError
from histosynth.patches.extract import ExtractionResult, extract
from histosynth.slides.phantom import draw_phantom
from histosynth.slides.phantom.cohort import write_pyramid
from histosynth.stain.optical_density import to_density, to_rgb
from histosynth.store.store import Store

Content = Callable[[Path], dict[str, bytes]]


def run(cohort: Any, out: Path, settings: PatchSettings, **changes: Any) -> ExtractionResult:
    given: dict[str, Any] = {**cohort.inputs, "workers": 1, "progress": False, **changes}
    return extract(given.pop("slides"), out=out, settings=settings, **given)


def read_manifest(out: Path) -> dict[str, Any]:
    return json.loads((out / "manifest.json").read_text())


def test_patches_are_scaled_regions_with_correct_metadata(
    draw_cohort: Any, small: PatchSettings, tmp_path: Path
) -> None:
    cohort, out = draw_cohort(4), tmp_path / "store"
    raw = small.model_copy(update={"stain": "none"})
    result = run(cohort, out, raw)
    store, manifest = Store(out), read_manifest(out)
    assert result.patches == len(store) == manifest["totals"]["patches"] == 4 * 12
    assert store.labels == ["codel", "wt"]
    slides = {f"S{n}": np.asarray(Image.open(cohort.slides / f"S{n}.png")) for n in range(4)}
    table = store.table.drop_columns("image").to_pylist()
    for row, image in zip(table, store.images(range(len(store))), strict=True):
        x, y, extent = row["x"], row["y"], row["extent"]
        region = slides[row["slide_id"]][y : y + extent, x : x + extent].astype(float)
        np.testing.assert_allclose(image, region.reshape(16, 2, 16, 2, 3).mean((1, 3)), atol=0.5)
        assert row["patch_id"] == f"{row['slide_id']}_{x}_{y}"
        assert (row["mpp"], extent, row["source"]) == (1.0, 32, "real")
        assert row["tissue"] >= 0.5
        assert row["patient_id"] == "P" + row["slide_id"][1:]
        assert row["split"] == ("held_out" if row["patient_id"] in manifest["patients"]["held_out"] else "train")
    for slide in manifest["slides"]:
        assert slide["candidates"] == slide["patches"] + sum(slide["rejected"].values())
        rows = [(row["y"], row["x"]) for row in table if row["slide_id"] == slide["slide_id"]]
        assert rows == sorted(set(rows))
    assert len(manifest["patients"]["held_out"]) == 2  # one per genotype


def test_two_resolutions_of_the_same_tissue_give_the_same_patches(tmp_path: Path, draw_cohort: Any) -> None:
    cohort = draw_cohort(1)
    coarse = np.asarray(Image.open(cohort.slides / "S0.png"))
    Image.fromarray(coarse.repeat(2, 0).repeat(2, 1)).save(tmp_path / "S0.png")
    settings = PatchSettings(region_px=64, region_mpp=0.25, patch_px=16, cap=10, stain="none")
    for name, slide, mpp in (("coarse", cohort.slides / "S0.png", 0.5), ("fine", tmp_path / "S0.png", 0.25)):
        extract([slide], out=tmp_path / name, settings=settings, mpp=mpp, workers=1, progress=False)
    first, second = Store(tmp_path / "coarse"), Store(tmp_path / "fine")
    np.testing.assert_array_equal(2 * np.array(first.column("x")), second.column("x"))
    assert set(first.column("extent")) == {32}
    assert set(second.column("extent")) == {64}
    np.testing.assert_array_equal(first.images(range(10)), second.images(range(10)))


def test_phantoms_of_two_resolutions_have_one_field_of_view(tmp_path: Path) -> None:
    for mpp, size in ((0.5, 512), (0.25, 1024)):
        phantom = draw_phantom("IDHwt", width_px=size, height_px=size, mpp=mpp, rng=np.random.default_rng(0))
        slide, out = tmp_path / f"{mpp}.tif", tmp_path / f"store{mpp}"
        write_pyramid(slide, phantom.image, mpp=mpp)
        extract([slide], out=out, settings=PatchSettings(region_px=256, patch_px=64), workers=1, progress=False)
        store = Store(out)
        assert set(store.column("mpp")) == {1.0}
        assert {extent * mpp for extent in store.column("extent")} == {64.0}


def test_paler_stain_gives_similar_patches(draw_cohort: Any, small: PatchSettings, tmp_path: Path) -> None:
    cohort = draw_cohort(1)
    image = np.asarray(Image.open(cohort.slides / "S0.png"))
    run(cohort, tmp_path / "dark", small)
    cohort.add("S0", to_rgb(0.7 * to_density(image)))
    run(cohort, tmp_path / "pale", small)
    run(cohort, tmp_path / "raw", small.model_copy(update={"stain": "none"}))
    dark, pale, raw = (Store(tmp_path / name).images(range(12)).astype(float) for name in ("dark", "pale", "raw"))
    assert abs(dark - pale).mean() < 3 < 15 < abs(dark - raw).mean()


def test_without_outlines_only_tissue_is_required(draw_cohort: Any, small: PatchSettings, tmp_path: Path) -> None:
    cohort = draw_cohort(1)
    run(cohort, tmp_path / "store", small.model_copy(update={"cap": 1000}), outlines=None)
    manifest = read_manifest(tmp_path / "store")
    assert manifest["outlines"] == "none: tissue only"
    # 8 x 8 regions of 32 px; the outer ring is glass.
    assert manifest["totals"]["candidates"] == 64
    assert manifest["totals"]["rejected"]["too_little_tissue"] == 28
    assert manifest["totals"]["patches"] == 36


@pytest.mark.parametrize("workers", [1, 2])
def test_resuming_gives_the_same_bytes(
    draw_cohort: Any, small: PatchSettings, tmp_path: Path, content: Content, workers: int
) -> None:
    cohort, whole, broken = draw_cohort(3), tmp_path / "whole", tmp_path / "broken"
    run(cohort, whole, small)
    run(cohort, broken, small)
    for name in ("manifest.json", "part-S1.parquet", "part-S2.parquet"):
        (broken / name).unlink()
    (broken / ".part-S1.parquet.tmp").write_bytes(b"half")
    kept = (broken / "part-S0.parquet").stat().st_mtime_ns
    result = run(cohort, broken, small, workers=workers)
    assert (result.slides_resumed, result.slides_remade) == (1, 0)
    assert (broken / "part-S0.parquet").stat().st_mtime_ns == kept
    assert content(broken) == content(whole)


def test_adding_a_slide_changes_no_other_part(draw_cohort: Any, small: PatchSettings, tmp_path: Path) -> None:
    cohort = draw_cohort(5)
    settings = small.model_copy(update={"held_out": 0.0})
    few = [cohort.slides / f"S{n}.png" for n in (1, 3)]
    run(cohort, tmp_path / "store", settings, slides=few)
    before = {part.name: part.read_bytes() for part in (tmp_path / "store").glob("part-*")}
    result = run(cohort, tmp_path / "store", settings)
    assert (result.slides_done, result.slides_resumed) == (5, 2)
    assert {name: (tmp_path / "store" / name).read_bytes() for name in before} == before


def change_cap(cohort: Any, settings: PatchSettings) -> PatchSettings:
    return settings.model_copy(update={"cap": 5})


def change_label(cohort: Any, settings: PatchSettings) -> PatchSettings:
    cohort.labels.write_text(cohort.labels.read_text().replace("codel", "IDHmut-codel"))
    return settings


def change_outline(cohort: Any, settings: PatchSettings) -> PatchSettings:
    for n in range(2):
        cohort.outline(f"S{n}", [[40, 40], [220, 40], [220, 220], [40, 220]])
    return settings


def change_slide(cohort: Any, settings: PatchSettings) -> PatchSettings:
    for path in cohort.slides.iterdir():
        Image.fromarray(np.asarray(Image.open(path))[::-1]).save(path)
    return settings


@pytest.mark.parametrize(
    ("change", "remade"), [(change_cap, 2), (change_label, 1), (change_outline, 2), (change_slide, 2)]
)
def test_parts_of_changed_inputs_are_replaced(
    draw_cohort: Any, small: PatchSettings, tmp_path: Path, content: Content, change: Any, remade: int
) -> None:
    cohort = draw_cohort(2)
    run(cohort, tmp_path / "store", small)
    settings = change(cohort, small)
    assert run(cohort, tmp_path / "store", settings).slides_remade == remade
    run(cohort, tmp_path / "fresh", settings)
    assert content(tmp_path / "store") == content(tmp_path / "fresh")


def test_uniform_tissue_keeps_its_colors_and_records_the_reason(
    draw_cohort: Any, small: PatchSettings, tmp_path: Path
) -> None:
    cohort = draw_cohort(1)
    flat = np.full((256, 256, 3), 245, np.uint8)
    flat[40:216, 40:216] = (200, 120, 170)
    cohort.add("S0", flat)
    run(cohort, tmp_path / "store", small.model_copy(update={"quality": False, "min_tissue": 1.0}))
    assert read_manifest(tmp_path / "store")["slides"][0]["stain"]["status"].startswith("skipped:")
    assert (Store(tmp_path / "store").images([5])[0] == (200, 120, 170)).all()


def test_only_named_patients_are_held_out(draw_cohort: Any, small: PatchSettings, tmp_path: Path) -> None:
    cohort = draw_cohort(3)
    run(cohort, tmp_path / "store", small.model_copy(update={"held_out_patients": ("P1",)}))
    assert read_manifest(tmp_path / "store")["patients"] == {"train": ["P0", "P2"], "held_out": ["P1"]}
    with pytest.raises(HistosynthError, match=r"names 'P11', a patient without data here \(did you mean"):
        run(cohort, tmp_path / "other", small.model_copy(update={"held_out_patients": ("P11",)}))
    assert not (tmp_path / "other").exists()


def test_patient_may_have_several_classes_of_regions(draw_cohort: Any, small: PatchSettings, tmp_path: Path) -> None:
    cohort = draw_cohort(3)
    cohort.labels.write_text("file,case,class\nS0.tif,A,viable\nS1.tif,A,necrosis\nS2.tif,B,viable\n")
    with pytest.raises(HistosynthError, match=r"set patches\.one_label_per_patient=false"):
        run(cohort, tmp_path / "store", small)
    run(cohort, tmp_path / "store", small.model_copy(update={"one_label_per_patient": False}))
    assert read_manifest(tmp_path / "store")["patients"] == {"train": ["A", "B"], "held_out": []}
    assert set(Store(tmp_path / "store").labels) == {"viable", "necrosis"}
