"""`extract` on real tissue."""

import json
from pathlib import Path

import pytest

from histosynth.config import PatchSettings
from histosynth.errors import HistosynthError
from histosynth.patches.extract import extract
from histosynth.store.store import Store

pytestmark = pytest.mark.real


def test_cohort_of_gliomas(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "lgg_mini"
    given = {"outlines": source / "annotations", "labels": source / "labels.csv", "workers": 1, "progress": False}
    result = extract([source / "slides"], out=tmp_path / "store", settings=PatchSettings(), **given)
    store = Store(tmp_path / "store")
    # Two outlines of 1012 px per slide: 2 x 2 regions of 512 px each, within twelve pixels.
    assert result.patches == len(store) == 3 * 2 * 4
    assert store.labels == ["IDHmut-non-codel", "IDHwt"]
    assert set(store.column("split")) == {"train", "held_out"}
    assert set(zip(store.column("extent"), store.column("mpp"), strict=True)) == {(512, 1.0)}
    assert store.images(range(len(store))).shape == (24, 128, 128, 3)
    assert {slide["stain"]["status"] for slide in store.manifest["slides"]} == {"normalized"}


def test_slide_without_outlines(shared_data: Path, tmp_path: Path) -> None:
    slide = shared_data / "slides" / "CMU-1-Small-Region.svs"
    extract([slide], out=tmp_path / "store", settings=PatchSettings(cap=8), workers=1, progress=False)
    store = Store(tmp_path / "store")
    assert store.manifest["outlines"] == "none: tissue only"
    assert len(store) == 8
    assert set(store.column("extent")) == {257}  # 128 microns at 0.499
    assert store.labels == []
    assert min(store.column("tissue")) >= 0.5


def test_slide_without_scale_needs_mpp(shared_data: Path, tmp_path: Path) -> None:
    slide = shared_data / "slides" / "TCGA-CR-7395-01A-01-TS1.svs"
    with pytest.raises(HistosynthError) as caught:
        extract([slide], out=tmp_path / "store", settings=PatchSettings(), workers=1, progress=False)
    assert str(caught.value) == (
        "slide TCGA-CR-7395-01A-01-TS1 states no microns per pixel; "
        "pass --mpp (microns per pixel of its full resolution), or add it to --mpp-table"
    )
    assert not (tmp_path / "store").exists()
    extract([slide], out=tmp_path / "store", settings=PatchSettings(cap=5), mpp=0.5, workers=1, progress=False)
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_text())
    assert (manifest["totals"]["patches"], manifest["slides"][0]["patient_id"]) == (5, "TCGA-CR-7395")


def test_truncated_slide_is_an_error(shared_data: Path, tmp_path: Path) -> None:
    whole = (shared_data / "lgg_mini" / "slides" / "TCGA-DB-5270-01Z-00-DX1.svs").read_bytes()
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "short.svs").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(HistosynthError, match=r"short.svs"):
        extract([tmp_path / "slides"], out=tmp_path / "store", settings=PatchSettings(), workers=1, progress=False)
    assert not list(tmp_path.rglob("part-*"))
