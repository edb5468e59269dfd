"""Training: the loss falls, equal seeds give equal runs, and mistakes and divergence are reported."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from histosynth.config import SampleSettings, Settings, load_settings
from histosynth.errors import HistosynthError
from histosynth.rundir import exclusive_lock
from histosynth.store.part import read_part, write_part
from histosynth.store.store import Store, write_manifest
from histosynth.training.data.dataset import PatchDataset, to_tensor
from histosynth.training.diffusion_task import DiffusionTask
from histosynth.training.launch import launch
from histosynth.training.log import read_stats
from histosynth.training.loop import train
from histosynth.training.model_task import Images
from training_steps import images_at, take_step

MakeStore = Callable[..., Path]
SameWeights = Callable[[Path, Path], bool]


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    (path,) = (run / "weights").glob("ema-*.safetensors")
    return load_file(path)


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
    "mixture": ["process=edm", "mixture=3"],
    "flow": ["process=flow"],
    "learned": ["variance=learned", "timesteps=200"],
    "v": ["prediction=v", "zero_terminal_snr=true", "schedule=cosine", "weighting=uniform"],
}


@pytest.mark.parametrize("process", PROCESSES)
def test_equal_seeds_give_equal_runs_and_another_seed_another(
    same_weights: SameWeights, make_store: MakeStore, tiny_settings: Settings, tmp_path: Path, process: str
) -> None:
    store, process_overrides = make_store(), [f"diffusion.{override}" for override in PROCESSES[process]]
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        settings = load_settings(
            tiny_settings, overrides=[*process_overrides, f"train.seed={seed}", "model.dropout=0.1"]
        )
        train(store, out=tmp_path / name, settings=settings, device="cpu", progress=False)
    assert same_weights(tmp_path / "a", tmp_path / "b")
    assert not same_weights(tmp_path / "a", tmp_path / "c")


def test_without_stain_jitter_no_random_numbers_are_drawn_for_it(
    make_store: MakeStore, tiny_settings: Settings
) -> None:
    data = PatchDataset(Store(make_store()))

    def draw(*overrides: str) -> Images:
        settings = load_settings(tiny_settings, overrides=[f"train.{override}" for override in overrides])
        return images_at(DiffusionTask(data, settings=settings, accelerator=launch("cpu")), 0)

    plain, jittered = draw("flips=false"), draw("flips=false", "stain_jitter=0.1")
    assert torch.equal(plain.x, data.batch(0, 8, seed=3)[0])
    assert not torch.equal(plain.x, jittered.x)
    assert all(torch.equal(one, other) for one, other in zip(plain[1:], jittered[1:], strict=True))


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


@pytest.mark.parametrize(
    "due",
    ["train.checkpoint_every=48", "train.samples_every=48", "train.images=240"],
    ids=["checkpoint", "grid", "early weights"],
)
def test_a_loss_that_diverged_between_lines_of_the_log_is_found_before_anything_is_kept(
    make_store: MakeStore, tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, due: str
) -> None:
    """The third step diverges, and the sixth is the first after which the weights would be used."""
    true_losses, calls, run = DiffusionTask.losses, iter(range(1000)), tmp_path / "run"

    def losses(self: DiffusionTask, images: Images) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        values, more = true_losses(self, images)
        return values * (float("inf") if next(calls) == 2 else 1.0), more

    monkeypatch.setattr(DiffusionTask, "losses", losses)
    monkeypatch.setattr("histosynth.training.loop._LOG_LINES", 1)
    settings = load_settings(
        tiny_settings,
        overrides=["train.images=9600", "train.checkpoint_every=9600", "train.samples_every=9600", due],
    )
    with pytest.raises(HistosynthError, match=r"training diverged after 16 images: the loss is inf .*8 of 8 patches"):
        train(make_store(), out=run, settings=settings, device="cpu", progress=False)
    assert next(calls) == 6
    assert not [path for folder in ("state", "weights", "samples") for path in (run / folder).glob("*")]
    assert read_stats(run) == []


def test_a_diverged_gradient_of_a_finite_loss_names_the_first_patches(
    make_store: MakeStore, tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.nn.utils.clip_grad_norm_", lambda *_, **__: torch.tensor(float("inf")))
    data = PatchDataset(Store(make_store()))
    settings = load_settings(tiny_settings, overrides=["train.batch=20"])
    with pytest.raises(
        HistosynthError, match=r"after 60 images: .* gradient inf, on 20 of 20 .* and 4 more; check"
    ) as caught:
        take_step(DiffusionTask(data, settings=settings, accelerator=launch("cpu")), 60)
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
    same_weights: SameWeights, make_store: MakeStore, tiny_settings: Settings, tmp_path: Path
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
    assert same_weights(tmp_path / "steps", tmp_path / "uninterrupted")
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


def test_training_warns_about_a_store_of_mixed_colors(
    make_store: MakeStore, tiny_settings: Settings, tmp_path: Path
) -> None:
    store = make_store()
    for number, part in enumerate(sorted(store.glob("part-*.parquet"))):
        stain = ("normalized", "skipped:one-stain")[number % 2]
        write_part(part, [replace(patch, stain=stain) for patch in read_part(part)], fingerprint="test")
    write_manifest(store, {})
    with pytest.warns(UserWarning, match="40% of the patches of store kept their raw colors"):
        train(store, out=tmp_path / "run", settings=tiny_settings, device="cpu", progress=False)
