"""Runs that somebody or something else has changed: one line or success, never a traceback, whatever the files hold."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from histosynth.cli.info import as_lines
from histosynth.config import Settings
from histosynth.errors import HistosynthError
from histosynth.inspect.describe import describe
from histosynth.training.checkpoint import load_state, newest_state, save_state
from histosynth.training.loop import train
from histosynth.training.progress import progress_text, read_progress
from limits import attempt
from mutations import Mutations

MANIFEST = {
    "kind": "run", "status": "running", "images": 64, "total_images": 128, "labels": ["a"], "image_px": 8, "mpp": None,
    "store": "store", "data_hash": "abc",
}  # fmt: skip
LINE = {"images": 32, "loss": 0.5, "lr": 0.1, "grad_norm": 1.0, "images_per_second": 2.5}
GAN = {"px": 8, "alpha": 0.5, "score_real": 0.1, "score_fake": 0.2, "penalty": 0.3, "diversity": 0.9}


def watch_and_describe(run: Path) -> bool:
    """Return whether `watch` or `info` refuses the run."""
    readers = (lambda: progress_text(read_progress(run)), lambda: as_lines(describe(run)))
    return sum(attempt(read) is not None for read in readers) > 0


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "manifest.json").write_text(json.dumps(MANIFEST))
    lines = [LINE, LINE | {"images": 40, "frechet": 30.0}, LINE | GAN | {"images": 48, "grad_norm": float("inf")}]
    (tmp_path / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "state").mkdir()
    return tmp_path


@pytest.mark.parametrize("name", ["manifest.json", "stats.jsonl"])
def test_a_damaged_manifest_or_log(run: Path, name: str) -> None:
    assert not watch_and_describe(run)
    refused = 0
    for copy in Mutations((run / name).read_bytes(), count=500):
        (run / name).write_bytes(copy)
        refused += watch_and_describe(run)
    assert 50 < refused < 500


def test_a_damaged_line_within_the_log_is_named(run: Path) -> None:
    (run / "stats.jsonl").write_text(json.dumps(LINE) + '\n{"images"\n' + json.dumps(LINE) + "\n")
    with pytest.raises(HistosynthError, match=r"stats\.jsonl, line 2 is damaged .*; delete this line and those af"):
        read_progress(run)


def test_files_that_are_no_states_stop_nothing(run: Path) -> None:
    for name in ("state-abc.pt", "state-.pt", "state-\u0661.pt", "state-000000000032.pt.bak", "state--1.pt"):
        (run / "state" / name).write_bytes(b"not a state")
    assert newest_state(run / "state") is None
    assert read_progress(run).checkpoint is None


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([1, 2], "does not state its images and seconds"),
        ({"images": "many", "seconds": 1.0}, "does not state its images and seconds"),
        ({"images": 32, "seconds": 1.0}, "does not fit the run"),
        (
            {"images": 32, "seconds": 1.0, "model": {}, "emas": [], "optimizer": {}, "scaler": {}},
            "does not fit the run",
        ),
    ],
)
def test_a_state_with_other_content_gives_one_line(
    state: object, message: str, make_store: Callable[..., Path], tiny_settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "run" / "state").mkdir(parents=True)
    (tmp_path / "run" / "config.toml").write_text(tiny_settings.to_toml())
    torch.save(state, tmp_path / "run" / "state" / "state-000000000032.pt")
    with pytest.raises(HistosynthError, match=message + r".*delete it to resume from the state before it"):
        train(make_store(), out=tmp_path / "run", settings=tiny_settings, device="cpu", progress=False)


def test_a_damaged_state_is_skipped_or_gives_one_line(tmp_path: Path) -> None:
    save_state(tmp_path, {"images": 32, "seconds": 1.0, "model": {"w": torch.zeros(9)}}, images=32)
    path = tmp_path / "state-000000000032.pt"
    skipped = 0
    for copy in Mutations(path.read_bytes(), count=500):
        path.write_bytes(copy)
        with warnings.catch_warnings(action="ignore"):  # of the damaged state that is skipped
            intact = newest_state(tmp_path) is not None
        skipped += not intact
        if intact:
            attempt(lambda: load_state(path)["seconds"])
    assert skipped > 100
