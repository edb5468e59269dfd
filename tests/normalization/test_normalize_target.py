"""The stain target: the median of the training slides, an image or a store, and what extraction makes of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from histosynth.config import PatchSettings
from histosynth.errors import HistosynthError
from histosynth.normalization import normalize as module
from histosynth.normalization.normalize import normalize
from histosynth.stain import Macenko, fit
from histosynth.stain.two_stains import TARGET
from histosynth.store.part import part_path, write_part
from histosynth.store.store import Store, write_manifest


def run(raw: Path, out: Path, **options: Any) -> module.NormalizeResult:
    return normalize(raw, out=out, progress=False, **options)


def manifest(out: Path) -> dict[str, Any]:
    return json.loads((out / "manifest.json").read_text())


def as_json(stain_fit: Any) -> Any:
    return json.loads(json.dumps(stain_fit.to_dict()))


def test_the_median_target_is_the_median_of_the_fits(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "out", target="median")
    facts = manifest(tmp_path / "out")
    fits = [slide["stain"] for slide in facts["slides"] if slide["split"] == "train"]
    assert 0 < len(fits) < len(facts["slides"])
    target = facts["staining"]["target"]
    assert target["max_concentrations"] == pytest.approx(np.median([f["max_concentrations"] for f in fits], axis=0))
    middle = np.median([f["stains"] for f in fits], axis=0)
    assert np.array(target["stains"]) == pytest.approx(middle / np.linalg.norm(middle, axis=1)[:, None], abs=1e-6)
    assert facts["settings"]["stain_target"] == "median"


def test_the_median_target_does_not_depend_on_held_out_slides(
    draw_cohort: Any, small: PatchSettings, tmp_path: Path, store: Any, restained: Any
) -> None:
    targets = []
    for name, strength in (("same", 1.0), ("other", 0.6)):
        cohort = draw_cohort(4, name=name)
        Image.fromarray(restained(np.asarray(Image.open(cohort.slides / "S3.png")), red=1.2, strength=strength)).save(
            cohort.slides / "S3.png"
        )
        raw = store(cohort, tmp_path / f"raw_{name}", small, stain="none", held_out_patients=("P3",))
        run(raw, tmp_path / f"out_{name}", target="median")
        targets.append(manifest(tmp_path / f"out_{name}")["staining"]["target"])
    assert targets[0] == targets[1]


def test_no_training_slide_gives_no_median(raw: Path, tmp_path: Path) -> None:
    held_out = tmp_path / "held_out"
    held_out.mkdir()
    opened = Store(raw)
    rows = [replace(opened.patch(row), split="held_out") for row in range(len(opened))]
    write_part(part_path(held_out, "a"), rows, fingerprint="f")
    write_manifest(held_out, {})
    with pytest.raises(HistosynthError, match=r"no training slide of .* can be fitted \(there is none\)"):
        run(held_out, tmp_path / "out", target="median")


def test_the_target_may_be_an_image_or_a_store(raw: Path, tmp_path: Path) -> None:
    sheet = np.concatenate(list(Store(raw).images(Store(raw).select(label="codel"))))
    Image.fromarray(sheet).save(tmp_path / "reference.png")
    run(raw, tmp_path / "image", target=str(tmp_path / "reference.png"))
    expected = as_json(fit(Macenko(), sheet).target)
    assert manifest(tmp_path / "image")["staining"]["target"] == expected
    run(raw, tmp_path / "store", target=str(raw))
    images = Store(raw).images(Store(raw).select(split="train"))
    assert manifest(tmp_path / "store")["staining"]["target"] == as_json(fit(Macenko(), images).target)


def test_extraction_rejects_the_median_target(
    draw_cohort: Any, small: PatchSettings, tmp_path: Path, store: Any
) -> None:
    with pytest.raises(
        HistosynthError, match="run histosynth normalize STORE --out OUT --stain macenko --stain-target"
    ):
        store(draw_cohort(1), tmp_path / "out", small, stain_target="median")


def test_extraction_records_its_target(draw_cohort: Any, small: PatchSettings, tmp_path: Path, store: Any) -> None:
    cohort = draw_cohort(2)
    reference = cohort.slides / "S1.png"
    out = store(cohort, tmp_path / "out", small, stain_target=str(reference))
    expected = as_json(fit(Macenko(), np.asarray(Image.open(reference))).target)
    assert manifest(out)["staining"] == {
        "method": "macenko",
        "per": "slide",
        "target": expected,
        "backend": "numpy",
    }
    assert expected != as_json(TARGET)
