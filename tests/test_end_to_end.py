"""End to end, with the commands that a user types: from phantoms (and real gliomas) to a report."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from histosynth.cli import main
from histosynth.slides.phantom import GENOTYPES, draw_cohort
from histosynth.store.store import Store

Verb = Callable[..., dict[str, Any]]
TOY = [
    "patches.patch_px=16", "patches.cap=12", "model.channels=16", "model.channel_mult=[1,2]", "model.blocks=1",
    "model.stem=2", "model.heads=2", "model.attention_px=[4]", "train.images=48", "train.batch=8", "sample.steps=2",
]  # fmt: skip


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Verb:
    """Run `histosynth …` in this process and return its `--json`."""
    torch.set_num_threads(1)

    def call(*words: object) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", ["histosynth", *map(str, words), "--json"])
        main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return call


def end_to_end(verb: Verb, data: dict[str, Path], out: Path, *settings: str) -> dict[str, Any]:
    overrides = [word for one in (*TOY, *settings) for word in ("--set", one)]
    store, run, samples, report = (out / name for name in ("store", "run", "samples", "report"))
    tables = ["--outlines", data["outlines"], "--labels", data["labels"]]
    verb("patches", data["slides"], *tables, "--out", store, "--workers", 1, *overrides)
    trained = verb("train", store, "--out", run, "--device", "cpu", *overrides)
    assert trained["images"] == 48
    sampled = verb("sample", run, "--out", samples, "--per-label", 5, "--device", "cpu")
    assert sampled["images"] == 5 * len(Store(store).labels)
    verb("evaluate", "--real", store, "--fake", samples, "--out", report, "--device", "cpu")
    for thing, kind in ((run, "run"), (samples, "sample store"), (store, "patch store"), (report, "report")):
        assert verb("info", thing)["kind"] == kind
    page = (report / "report.html").read_text()
    assert "synthetic" in page
    return dict(json.loads((report / "report.json").read_text()))


@pytest.mark.slow
def test_phantoms(verb: Verb, tmp_path: Path) -> None:
    cohort = draw_cohort(tmp_path / "cohort", patients_per_genotype=2, size_px=768, workers=1, progress=False)
    data = {"slides": cohort.slides, "outlines": cohort.outlines, "labels": cohort.labels}
    report = end_to_end(verb, data, tmp_path, "patches.region_px=64", "patches.region_mpp=0.5")
    assert set(report["labels"]) == set(GENOTYPES)
    assert report["overall"]["fake_vs_held_out"]["n"] == 15
    # A network of 6 steps generates colored noise, which the report must find further from tissue than other tissue.
    floor, distance = (
        report["overall"][pair]["measures"]["frechet_distance"]["value"]
        for pair in ("train_vs_held_out", "fake_vs_held_out")
    )
    assert distance > 1.5 * floor
    assert verb("info", next((tmp_path / "run").glob("weights/*")))["labels"] == sorted(GENOTYPES)


@pytest.mark.real
@pytest.mark.slow
def test_real_gliomas(verb: Verb, tmp_path: Path, shared_data: Path) -> None:
    source = shared_data / "lgg_mini"
    data = {"slides": source / "slides", "outlines": source / "annotations", "labels": source / "labels.csv"}
    report = end_to_end(verb, data, tmp_path, "patches.region_px=128", "patches.min_tissue=0.2")
    assert set(report["labels"]) == {"IDHmut-non-codel", "IDHwt"}


def test_the_demo_echoes_the_commands_and_stops_at_the_first_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The demo runs the commands of a user; here the cohort exists and is empty, so that the first command fails."""
    cohort = tmp_path / "cohort"
    (cohort / "slides").mkdir(parents=True)
    (cohort / "labels.csv").write_text("slide_id,label\n")
    monkeypatch.setattr(sys, "argv", ["histosynth", "demo", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2  # as `patches` exits on an empty folder
    out = capsys.readouterr().out
    assert f"$ histosynth patches {cohort / 'slides'} --outlines {cohort / 'outlines'}" in out
    assert "$ histosynth train" not in out
