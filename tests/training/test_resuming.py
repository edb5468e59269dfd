"""Resuming: a run continues to the bit after ends, kills and truncated states, and only with equal settings."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from histosynth.config import Settings, load_settings
from histosynth.errors import HistosynthError
from histosynth.store.store import Store
from histosynth.training.data.dataset import PatchDataset
from histosynth.training.diffusion_task import DiffusionTask
from histosynth.training.launch import launch
from histosynth.training.log import read_stats
from histosynth.training.loop import train
from training_steps import take_step

MakeStore = Callable[..., Path]
SameWeights = Callable[[Path, Path], bool]


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    (path,) = (run / "weights").glob("ema-*.safetensors")
    return load_file(path)


def test_a_longer_run_resumes_where_the_shorter_one_ended(
    same_weights: SameWeights, make_store: MakeStore, tiny_settings: Settings, tmp_path: Path
) -> None:
    store = make_store()
    for images in (48, 96):
        settings = load_settings(tiny_settings, overrides=[f"train.images={images}"])
        result = train(store, out=tmp_path / "steps", settings=settings, device="cpu", progress=False)
    assert result.resumed_at == 48
    train(store, out=tmp_path / "uninterrupted", settings=tiny_settings, device="cpu", progress=False)
    assert same_weights(tmp_path / "steps", tmp_path / "uninterrupted")


def test_seven_and_thirteen_steps_with_stain_jitter_equal_twenty(
    make_store: MakeStore, tiny_settings: Settings
) -> None:
    data = PatchDataset(Store(make_store()))

    def task(jitter: float) -> DiffusionTask:
        settings = load_settings(tiny_settings, overrides=[f"train.stain_jitter={jitter}"])
        return DiffusionTask(data, settings=settings, accelerator=launch("cpu"))

    twenty, first, second = task(0.1), task(0.1), task(0.1)
    losses = [take_step(twenty, 8 * n)["loss"] for n in range(20)]
    for n in range(7):
        first.step(8 * n)
    second.load_state(first.state())
    assert [take_step(second, 8 * n)["loss"] for n in range(7, 20)] == losses[7:]
    assert all(torch.equal(twenty.emas[0].weights[name], value) for name, value in second.emas[0].weights.items())
    plain = task(0.0)
    assert take_step(plain, 0)["loss"] == losses[0]  # an untrained network predicts 0 for any input
    assert take_step(plain, 8)["loss"] != losses[1]


def test_a_finished_run_has_nothing_to_do(make_store: MakeStore, tiny_settings: Settings, tmp_path: Path) -> None:
    store = make_store()
    train(store, out=tmp_path / "run", settings=tiny_settings, device="cpu", progress=False)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run" / "weights").iterdir()}
    result = train(store, out=tmp_path / "run", settings=tiny_settings, device="cpu", progress=False)
    assert (result.resumed_at, result.images_per_second) == (96, 0.0)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "run" / "weights").iterdir()} == before


def test_a_run_killed_at_the_very_end_is_completed(
    make_store: MakeStore, tiny_settings: Settings, tmp_path: Path
) -> None:
    store, run = make_store(), tmp_path / "run"
    train(store, out=run, settings=tiny_settings, device="cpu", progress=False)
    manifest = json.loads((run / "manifest.json").read_text())
    before = weights_of(run)
    (run / "manifest.json").write_text(json.dumps({**manifest, "status": "running"}))
    (run / "figures" / "loss.png").unlink()
    next((run / "weights").glob("ema-*")).unlink()
    result = train(store, out=run, settings=tiny_settings, device="cpu", progress=False)
    assert json.loads((run / "manifest.json").read_text())["status"] == "finished"
    assert (run / "figures" / "loss.png").is_file()
    assert result.weights.is_file()
    assert all(torch.equal(before[name], value) for name, value in weights_of(run).items())


def test_a_truncated_state_is_skipped_with_a_warning(
    same_weights: SameWeights, make_store: MakeStore, tiny_settings: Settings, tmp_path: Path
) -> None:
    store = make_store()
    for name in ("truncated", "intact"):
        train(store, out=tmp_path / name, settings=tiny_settings, device="cpu", progress=False)
    newest = max((tmp_path / "truncated" / "state").glob("*.pt"))
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="resuming from the state before it"):
        result = train(store, out=tmp_path / "truncated", settings=tiny_settings, device="cpu", progress=False)
    assert result.resumed_at == 64
    assert same_weights(tmp_path / "truncated", tmp_path / "intact")
    images = [line["images"] for line in read_stats(tmp_path / "truncated")]
    assert images == sorted(set(images))


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_weights(
    same_weights: SameWeights, make_store: MakeStore, tiny_settings: Settings, tmp_path: Path
) -> None:
    store = make_store()
    config = tmp_path / "tiny.toml"
    config.write_text(load_settings(tiny_settings, overrides=["train.images=320"]).to_toml())

    def command(run: Path) -> list[str]:
        return [
            sys.executable,
            "-m",
            "histosynth",
            "train",
            str(store),
            "--out",
            str(run),
            "--device",
            "cpu",
            "--config",
            str(config),
        ]

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command(tmp_path / "killed"), env=environment, stderr=subprocess.PIPE)
    until = time.monotonic() + 120
    while not list((tmp_path / "killed" / "state").glob("state-*.pt")):
        assert time.monotonic() < until, "no checkpoint was written"
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    states = list((tmp_path / "killed" / "state").glob("state-*.pt"))
    for run in ("killed", "uninterrupted"):
        subprocess.run(command(tmp_path / run), env=environment, check=True, capture_output=True)
    assert states
    assert same_weights(tmp_path / "killed", tmp_path / "uninterrupted")


def test_other_settings_or_other_patches_are_rejected(
    make_store: MakeStore, tiny_settings: Settings, tmp_path: Path
) -> None:
    store = make_store()
    train(store, out=tmp_path / "run", settings=tiny_settings, device="cpu", progress=False)
    changed = load_settings(tiny_settings, overrides=["train.lr=1e-5"])
    with pytest.raises(HistosynthError, match=r"started with train.lr = 0.001, not 1e-05"):
        train(store, out=tmp_path / "run", settings=changed, device="cpu", progress=False)
    with pytest.raises(HistosynthError, match="trained on other patches"):
        train(make_store("b", seed=1), out=tmp_path / "run", settings=tiny_settings, device="cpu", progress=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(HistosynthError, match="is not a run"):
        train(store, out=tmp_path / "mine", settings=tiny_settings, device="cpu", progress=False)
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
