"""A comparison: its results are those of the reports, and it is repeatable."""

import json
from dataclasses import replace

import pytest
from PIL import Image

from histosynth.errors import HistosynthError
from histosynth.report.compare.build import compare
from histosynth.store.png import is_synthetic

PAIR = "fake_vs_held_out"
MEASURES = ["frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage"]


def test_results_are_those_of_the_reports(models, paths, tmp_path):
    content = compare(reports=paths, out=tmp_path / "both", stores=[tmp_path])
    assert list(content["models"]) == ["run-1", "run-2"]
    assert content["reference"] == "held_out"
    for name, (_, facts) in zip(content["models"], models.values(), strict=True):
        for pair in (PAIR, "fake_vs_train"):
            assert content["overall"]["models"][name][pair] == facts["overall"][pair]
            for label in ("IDHmut", "IDHwt"):
                assert content["labels"][label]["models"][name][pair] == facts["labels"][label][pair]
        assert content["overall"]["floor"] == facts["overall"]["train_vs_held_out"]
        assert content["models"][name]["samples"] == facts["stores"]["fake"]
    assert json.loads((tmp_path / "both" / "compare.json").read_text()) == content


def test_the_keys_are_stable(paths, tmp_path):
    content = compare(reports=paths, out=tmp_path / "both", stores=[tmp_path])
    assert list(content) == [
        "kind", "schema_version", "verdict", "cautions", "reference", "models", "overall", "overall_labels", "labels",
        "inception_score", "extractor", "neighbors", "real", "provenance",
    ]  # fmt: skip
    assert (content["kind"], content["schema_version"]) == ("comparison", 1)
    assert list(content["overall"]) == ["models", "floor", "best"]
    assert list(content["overall"]["best"]) == MEASURES


def test_samples_without_labels(make, real, fake_rows, report, tmp_path):
    for name in ("x", "y"):
        rows = [replace(p, source=name, label=None) for p in fake_rows]
        report(real, make(f"samples-{name}", rows), out=name)
    content = compare(reports=[tmp_path / "x", tmp_path / "y"], out=tmp_path / "both", stores=[tmp_path])
    assert list(content["labels"]) == ["all patches"]
    with Image.open(tmp_path / "both" / "figures" / "patches-all patches.png") as image:
        assert is_synthetic(image.info)
        assert image.info["Source"] == "x, y"


def test_a_repeated_comparison_is_identical(paths, tmp_path):
    compare(reports=paths, out=tmp_path / "both", stores=[tmp_path])
    before = {p.name: p.read_bytes() for p in (tmp_path / "both").rglob("*") if p.is_file()}
    compare(reports=paths, out=tmp_path / "both", stores=[tmp_path])
    assert {p.name: p.read_bytes() for p in (tmp_path / "both").rglob("*") if p.is_file()} == before


def test_a_report_is_not_overwritten(paths, tmp_path):
    before = (paths[0] / "report.json").read_bytes()
    with pytest.raises(HistosynthError, match="exists and is not a comparison"):
        compare(reports=paths, out=paths[0])
    assert (paths[0] / "report.json").read_bytes() == before
