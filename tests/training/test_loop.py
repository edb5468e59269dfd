"""Training: the loss falls, runs end and resume to the bit, and mismatches are rejected."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from histosynth.config import SampleSettings, Settings, load_settings
from histosynth.errors import HistosynthError
from histosynth.rundir import exclusive_lock
from histosynth.store.store import Store
from histosynth.training.data.dataset import PatchDataset, to_tensor
from histosynth.training.diffusion_task import DiffusionTask
from histosynth.training.launch import launch
from histosynth.training.log import read_stats
from histosynth.training.loop import train
from histosynth.training.model_task import Images

MakeStore = Callable[..., Path]


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    (path,) = (run / "weights").glob("*.safetensors")
    return load_file(path)


def same(a: Path, b: Path) -> bool:
    one, other = weights_of(a), weights_of(b)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_writes_the_documented_files(make_store: MakeStore, tiny_settings: Settings, tmp_path: Path) -> None:
    result = train(make_store(), out=tmp_path / "run", settings=tiny_settings, device="cpu", progress=False)
    run = tmp_path / "run"
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["kind"], manifest["status"], manifest["images"]) == ("run", "finished", 96)
    assert manifest["labels"] == ["dark", "light"]
    assert manifest["train_patients"] == 3  # P3 and P4 are held out
    assert manifest["patches"] == 18
    assert load_settings(run / "config.toml") == tiny_settings
    assert [line["images"] for line in read_stats(run)][-1] == 96
    assert len(list((run / "state").glob("*.pt"))) == 2
    with Image.open(run / "samples" / "0000000096.png") as sheet:
        assert "SYNTHETIC" in sheet.info["Description"]
    assert (run / "figures" / "loss.png").stat().st_size > 1000
    assert result.weights.is_file()


def test_the_loss_falls_on_patches_of_two_shades_of_gray(
    make_store: MakeStore, tmp_path: Path, tiny_settings: Settings
) -> None:
    settings = load_settings(
        tiny_settings, overrides=["train.images=1600", "train.lr=4e-3", "train.checkpoint_every=1600"]
    )
    train(make_store(), out=tmp_path / "run", settings=settings, device="cpu", progress=False)
    losses = [line["loss"] for line in read_stats(tmp_path / "run")]
    assert sum(losses[-20:]) / 20 < 0.6 * sum(losses[:5]) / 5


PROCESSES = {
    "ddpm": ["process=ddpm"],
    "edm": ["process=edm"],
    "flow": ["process=flow"],
    "learned": ["variance=learned", "timesteps=200"],
    "v": ["prediction=v", "zero_terminal_snr=true", "schedule=cosine", "weighting=uniform"],
}


@pytest.mark.parametrize("process", PROCESSES)
def test_equal_seeds_give_equal_runs_and_another_seed_another(
    make_store: MakeStore, tiny_settings: Settings, tmp_path: Path, process: str
) -> None:
    store, process_overrides = make_store(), [f"diffusion.{override}" for override in PROCESSES[process]]
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        settings = load_settings(
            tiny_settings, overrides=[*process_overrides, f"train.seed={seed}", "model.dropout=0.1"]
        )
        train(store, out=tmp_path / name, settings=settings, device="cpu", progress=False)
    assert same(tmp_path / "a", tmp_path / "b")
    assert not same(tmp_path / "a", tmp_path / "c")


def test_a_longer_run_resumes_where_the_shorter_one_ended(
    make_store: MakeStore, tiny_settings: Settings, tmp_path: Path
) -> None:
    store = make_store()
    for images in (48, 96):
        settings = load_settings(tiny_settings, overrides=[f"train.images={images}"])
        result = train(store, out=tmp_path / "steps", settings=settings, device="cpu", progress=False)
    assert result.resumed_at == 48
    train(store, out=tmp_path / "uninterrupted", settings=tiny_settings, device="cpu", progress=False)
    assert same(tmp_path / "steps", tmp_path / "uninterrupted")


def test_seven_and_thirteen_steps_with_stain_jitter_equal_twenty(
    make_store: MakeStore, tiny_settings: Settings
) -> None:
    data = PatchDataset(Store(make_store()))

    def task(jitter: float) -> DiffusionTask:
        settings = load_settings(tiny_settings, overrides=[f"train.stain_jitter={jitter}"])
        return DiffusionTask(data, settings=settings, accelerator=launch("cpu"))

    twenty, first, second = task(0.1), task(0.1), task(0.1)
    losses = [twenty.step(8 * n)["loss"] for n in range(20)]
    for n in range(7):
        first.step(8 * n)
    second.load_state(first.state())
    assert [second.step(8 * n)["loss"] for n in range(7, 20)] == losses[7:]
    assert all(torch.equal(twenty.emas[0].weights[name], value) for name, value in second.emas[0].weights.items())
    plain = task(0.0)
    assert plain.step(0)["loss"] == losses[0]  # an untrained network predicts 0 for any input
    assert plain.step(8)["loss"] != losses[1]


def test_without_stain_jitter_no_random_numbers_are_drawn_for_it(
    make_store: MakeStore, tiny_settings: Settings
) -> None:
    data = PatchDataset(Store(make_store()))

    def draw(*overrides: str) -> Images:
        settings = load_settings(tiny_settings, overrides=[f"train.{override}" for override in overrides])
        return DiffusionTask(data, settings=settings, accelerator=launch("cpu"))._draw(0)

    plain, jittered = draw("flips=false"), draw("flips=false", "stain_jitter=0.1")
    assert torch.equal(plain.x, data.batch(0, 8, seed=3)[0])
    assert not torch.equal(plain.x, jittered.x)
    assert all(torch.equal(one, other) for one, other in zip(plain[1:], jittered[1:], strict=True))


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
    next((run / "weights").iterdir()).unlink()
    result = train(store, out=run, settings=tiny_settings, device="cpu", progress=False)
    assert json.loads((run / "manifest.json").read_text())["status"] == "finished"
    assert (run / "figures" / "loss.png").is_file()
    assert result.weights.is_file()
    assert all(torch.equal(before[name], value) for name, value in weights_of(run).items())


def test_a_truncated_state_is_skipped_with_a_warning(
    make_store: MakeStore, tiny_settings: Settings, tmp_path: Path
) -> None:
    store = make_store()
    for name in ("truncated", "intact"):
        train(store, out=tmp_path / name, settings=tiny_settings, device="cpu", progress=False)
    newest = max((tmp_path / "truncated" / "state").glob("*.pt"))
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="resuming from the state before it"):
        result = train(store, out=tmp_path / "truncated", settings=tiny_settings, device="cpu", progress=False)
    assert result.resumed_at == 64
    assert same(tmp_path / "truncated", tmp_path / "intact")
    images = [line["images"] for line in read_stats(tmp_path / "truncated")]
    assert images == sorted(set(images))


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_weights(
    make_store: MakeStore, tiny_settings: Settings, tmp_path: Path
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
    assert same(tmp_path / "killed", tmp_path / "uninterrupted")


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


def test_a_store_without_labels_is_rejected(make_store: MakeStore, tiny_settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(HistosynthError, match=r"no labeled patch of split 'train'.*--labels"):
        train(make_store(labels=(None,)), out=tmp_path / "run", settings=tiny_settings, device="cpu", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("bad", [[2, 5], range(8)])
def test_a_diverged_loss_names_step_and_patches_and_keeps_the_checkpoint(
    make_store: MakeStore,
    tiny_settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bad: list[int],
) -> None:
    from histosynth.diffusion.denoiser import Loss
    from histosynth.diffusion.discrete import DiscreteDenoiser

    true_loss, calls, store = DiscreteDenoiser.loss_at, iter(range(1000)), Store(make_store())
    diverged: list[torch.Tensor] = []

    def loss_at(self: DiscreteDenoiser, x: torch.Tensor, *args: object, **kwargs: object) -> Loss:
        loss = true_loss(self, x, *args, **kwargs)  # type: ignore[arg-type]
        if next(calls) < 5:
            return loss
        diverged.extend(x[bad])
        return Loss(loss.weighted * torch.ones(8).index_fill(0, torch.tensor(list(bad)), float("nan")), loss.unweighted)

    monkeypatch.setattr(DiscreteDenoiser, "loss_at", loss_at)
    settings = load_settings(tiny_settings, overrides=["train.flips=false"])
    message = (
        r"training diverged after 40 images: the loss is nan and the norm of its gradient nan, on (\d) of 8 patches of "
        r"the batch: (.*); check .*"
    )
    with pytest.raises(HistosynthError, match=message + "the last checkpoint is in") as caught:
        train(store, out=tmp_path / "run", settings=settings, device="cpu", progress=False)
    match = re.match(message, str(caught.value))
    assert match is not None
    images = dict(zip(store.column("patch_id"), to_tensor(store.images(range(len(store)))), strict=True))
    named = match.group(2).split(", ")
    assert int(match.group(1)) == len(named) == len(bad)
    assert all(torch.equal(images[name], x) for name, x in zip(named, diverged, strict=True))
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["images"] == 32


def test_a_diverged_gradient_of_a_finite_loss_names_the_first_patches(
    make_store: MakeStore, tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.nn.utils.clip_grad_norm_", lambda *_, **__: torch.tensor(float("inf")))
    data = PatchDataset(Store(make_store()))
    settings = load_settings(tiny_settings, overrides=["train.batch=20"])
    with pytest.raises(
        HistosynthError, match=r"after 60 images: .* gradient inf, on 20 of 20 .* and 4 more; check"
    ) as caught:
        DiffusionTask(data, settings=settings, accelerator=launch("cpu")).step(60)
    assert ", ".join(data.ids(60, 16, seed=3)) in str(caught.value)


def test_an_unavailable_device_is_named(make_store: MakeStore, tiny_settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(HistosynthError, match="device 'quantum'"):
        train(make_store(), out=tmp_path / "run", settings=tiny_settings, device="quantum", progress=False)


def test_two_commands_cannot_write_one_run(make_store: MakeStore, tiny_settings: Settings, tmp_path: Path) -> None:
    store, run = make_store(), tmp_path / "run"
    with exclusive_lock(run), pytest.raises(HistosynthError, match="run is being written by another command"):
        train(store, out=run, settings=tiny_settings, device="cpu", progress=False)
    assert not run.exists()
    train(store, out=run, settings=tiny_settings, device="cpu", progress=False)
    assert not list(run.rglob(".*"))


def test_a_classifier_is_trained_by_the_same_loop(
    make_store: MakeStore, tiny_settings: Settings, tmp_path: Path
) -> None:
    """On two shades of gray, it recognizes most labels over all noise levels, resumes to the bit, and guides."""
    from histosynth.sampling.generate import generate

    store = make_store()
    settings = load_settings(
        tiny_settings, overrides=["train.task=classifier", "train.images=800", "train.lr=4e-3", "train.batch=16"]
    )
    train(store, out=tmp_path / "uninterrupted", settings=settings, device="cpu", progress=False)
    accuracies = [line["accuracy"] for line in read_stats(tmp_path / "uninterrupted")]
    assert sum(accuracies[-15:]) / 15 > 0.65
    assert not list((tmp_path / "uninterrupted" / "samples").iterdir())
    for images in (400, 800):
        part = load_settings(settings, overrides=[f"train.images={images}"])
        train(store, out=tmp_path / "steps", settings=part, device="cpu", progress=False)
    assert same(tmp_path / "steps", tmp_path / "uninterrupted")
    train(store, out=tmp_path / "denoiser", settings=tiny_settings, device="cpu", progress=False)
    sample = SampleSettings(steps=2, classifier=str(tmp_path / "uninterrupted"))
    result = generate(
        tmp_path / "denoiser", out=tmp_path / "out", settings=sample, per_label=1, device="cpu", progress=False
    )
    assert result.images == 2


def test_a_classifier_of_one_label_and_a_run_of_another_task_are_rejected(
    make_store: MakeStore, tiny_settings: Settings, tmp_path: Path
) -> None:
    settings = load_settings(tiny_settings, overrides=["train.task=classifier"])
    with pytest.raises(HistosynthError, match="a classifier needs at least two labels, but all patches are 'dark'"):
        train(
            make_store("one", labels=("dark",)), out=tmp_path / "run", settings=settings, device="cpu", progress=False
        )
    assert not (tmp_path / "run").exists()
    store = make_store()
    train(store, out=tmp_path / "run", settings=tiny_settings, device="cpu", progress=False)
    with pytest.raises(HistosynthError, match=r"started with train.task = denoiser, not classifier"):
        train(store, out=tmp_path / "run", settings=settings, device="cpu", progress=False)


def test_previews_with_too_many_steps_are_rejected_at_the_start(
    make_store: MakeStore, tiny_settings: Settings, tmp_path: Path
) -> None:
    settings = load_settings(
        tiny_settings, overrides=["diffusion.process=ddpm", "diffusion.timesteps=10", "sample.steps=11"]
    )
    with pytest.raises(HistosynthError, match="11 steps requested, but the schedule has 10 timesteps"):
        train(make_store(), out=tmp_path / "run", settings=settings, device="cpu", progress=False)
    assert not (tmp_path / "run").exists()
