"""Runs on the small recipe: they resume to the bit, and keep the averaged weights of a fifth of the training."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from histosynth.config import Settings, load_settings
from histosynth.errors import HistosynthError
from histosynth.store.store import Store
from histosynth.training.checkpoint import find_early, find_weights, load_denoiser
from histosynth.training.data.dataset import PatchDataset
from histosynth.training.diffusion_task import DiffusionTask
from histosynth.training.launch import launch
from histosynth.training.loop import train
from histosynth.training.origin import KEY, read_origin
from training_steps import take_step

MakeStore = Callable[..., Path]
RECIPE = [
    "diffusion.process=edm", "diffusion.mixture=4", "train.optimizer=muon", "train.lr_decay=linear",
    "train.ema_halflife=1000000",
]  # fmt: skip


@pytest.fixture
def recipe(tiny_settings: Settings) -> Settings:
    return load_settings(tiny_settings, overrides=RECIPE)


def run_of(store: Path, out: Path, settings: Settings, *overrides: str) -> Path:
    train(store, out=out, settings=load_settings(settings, overrides=overrides), device="cpu", progress=False)
    return out


def equal(one: Path, other: Path) -> bool:
    a, b = load_file(one), load_file(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_twenty_steps_are_seven_and_thirteen(make_store: MakeStore, recipe: Settings) -> None:
    data = PatchDataset(Store(make_store()))

    def task() -> DiffusionTask:
        return DiffusionTask(data, settings=recipe, accelerator=launch("cpu"))

    whole, first, second = task(), task(), task()
    losses = [take_step(whole, 8 * n)["loss"] for n in range(20)]
    for n in range(7):
        first.step(8 * n)
    second.load_state(first.state())
    assert [take_step(second, 8 * n)["loss"] for n in range(7, 20)] == losses[7:]
    for name, value in second.emas[0].weights.items():
        assert torch.equal(whole.emas[0].weights[name], value), name


@pytest.mark.parametrize("components", [4, 64])  # more than there are patches
def test_the_mixture_is_fitted_to_training_patches_and_stays_as_it_is(
    make_store: MakeStore, recipe: Settings, tmp_path: Path, components: int
) -> None:
    recipe = load_settings(recipe, overrides=[f"diffusion.mixture={components}"])
    run = run_of(make_store(), tmp_path / "run", recipe)
    denoiser, _ = load_denoiser(find_weights(run))
    data = PatchDataset(Store(tmp_path / "store"))
    fresh = DiffusionTask(data, settings=recipe, accelerator=launch("cpu")).denoiser
    for name in ("axes", "log_weight", "mean", "variance"):
        kept, fitted = denoiser.state_dict()[f"mixture.{name}"], fresh.state_dict()[f"mixture.{name}"]
        assert torch.equal(kept, fitted), name  # neither training nor averaging has moved it
    assert all(value.isfinite().all() for value in denoiser.state_dict().values())
    gray = (denoiser.state_dict()["mixture.mean"] @ denoiser.state_dict()["mixture.axes"]).mean(2) / 8
    images, label = data.batch(0, len(data), seed=0)
    for number in (0, 1):
        used = denoiser.state_dict()["mixture.log_weight"][number] > -100
        assert gray[number][used].median().item() == pytest.approx(images[label == number].mean().item(), abs=0.05)


def test_the_averaged_weights_of_a_fifth_are_kept(
    make_store: MakeStore, tiny_settings: Settings, tmp_path: Path
) -> None:
    store = make_store()
    run = run_of(store, tmp_path / "run", tiny_settings)
    early = find_early(find_weights(run))
    assert early == run / "weights" / "early-0000000024.safetensors"  # the first step at or after 19 of 96 images
    assert read_origin(early).images == 24
    short = run_of(store, tmp_path / "short", tiny_settings, "train.images=24")
    assert equal(early, find_weights(short))
    assert not equal(early, find_weights(run))


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_a_resumed_run_keeps_the_same_early_weights(
    make_store: MakeStore, recipe: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """Interrupted before, at and after a fifth, which is the third step."""
    step, taken = DiffusionTask.step, 0

    def interrupted(self: DiffusionTask, seen: int) -> dict[str, float]:
        nonlocal taken
        if taken == steps:
            raise HistosynthError("the power is gone")
        taken += 1
        return step(self, seen)

    store, run, whole = make_store(), tmp_path / "interrupted", tmp_path / "whole"
    monkeypatch.setattr(DiffusionTask, "step", interrupted)
    with pytest.raises(HistosynthError, match="the power is gone"):
        run_of(store, run, recipe, "train.checkpoint_every=8")
    monkeypatch.undo()
    run_of(store, run, recipe, "train.checkpoint_every=8")
    run_of(store, whole, recipe)
    assert equal(find_weights(run), find_weights(whole))
    assert equal(find_early(find_weights(run)), find_early(find_weights(whole)))
    assert len(list((run / "weights").iterdir())) == 2


def test_a_run_made_longer_replaces_them_where_it_comes_to_a_fifth_again(
    make_store: MakeStore, tiny_settings: Settings, tmp_path: Path
) -> None:
    store = make_store()
    run = run_of(store, tmp_path / "run", tiny_settings, "train.images=16")
    assert find_early(find_weights(run)).name == "early-0000000008.safetensors"
    run_of(store, run, tiny_settings, "train.images=160")
    assert [path.name for path in (run / "weights").glob("early-*")] == ["early-0000000032.safetensors"]
    assert equal(find_early(find_weights(run)), find_weights(
        run_of(store, tmp_path / "short", tiny_settings, "train.images=32")
    ))  # fmt: skip


def test_a_classifier_keeps_none(make_store: MakeStore, recipe: Settings, tmp_path: Path) -> None:
    run = run_of(make_store(), tmp_path / "run", recipe, "train.task=classifier")
    assert [path.name for path in (run / "weights").iterdir()] == ["ema-0000000096.safetensors"]


def test_early_weights_that_are_missing_or_of_another_run_are_refused(
    make_store: MakeStore, tiny_settings: Settings, tmp_path: Path
) -> None:
    store = make_store()
    one, other = (run_of(store, tmp_path / name, tiny_settings, "train.images=16") for name in ("one", "other"))
    weights = find_weights(one)
    find_early(weights).unlink()
    with pytest.raises(HistosynthError, match=r"no early-\*\.safetensors beside .*set sample\.autoguidance=1"):
        find_early(weights)
    early = find_early(find_weights(other))
    (weights.parent / early.name).write_bytes(early.read_bytes())
    with pytest.raises(HistosynthError, match=r"is of run 'other', not of 'one'"):
        find_early(weights)


def test_weights_of_before_the_recipe_load_and_a_run_of_before_resumes(
    make_store: MakeStore, tiny_settings: Settings, tmp_path: Path
) -> None:
    """Their settings lack what the recipe added, and there are no early weights."""
    store, run = make_store(), tmp_path / "run"
    run_of(store, run, tiny_settings, "train.images=32")
    weights, config = find_weights(run), run / "config.toml"
    find_early(weights).unlink()
    added = {"mixture", "whitening", "optimizer", "autoguidance"}
    config.write_text(re.sub(rf"(?m)^({'|'.join(added)}) = .*\n", "", config.read_text("utf-8")))
    content = json.loads(read_origin(weights).to_metadata()[KEY])
    for section in content["settings"].values():
        for name in added & section.keys():
            del section[name]
    save_file(load_file(weights), weights, metadata={KEY: json.dumps(content)})
    denoiser, origin = load_denoiser(weights)
    assert (origin.settings.diffusion.mixture, origin.settings.train.optimizer) == (0, "adamw")
    assert all(torch.equal(denoiser.state_dict()[name], value) for name, value in load_file(weights).items())
    run_of(store, run, tiny_settings)
    whole = run_of(store, tmp_path / "whole", tiny_settings)
    assert equal(find_weights(run), find_weights(whole))
