"""A GAN in training: files, seeds, microbatches, processes, divergence and collapse."""

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.utils import DistributedType
from safetensors.torch import load_file
from torch import Tensor

from histosynth.cli import main
from histosynth.config import Settings, load_settings
from histosynth.errors import HistosynthError
from histosynth.gan.losses import DiscriminatorLoss, discriminator_loss
from histosynth.gan.progan import Generator
from histosynth.store.store import Store
from histosynth.training.checkpoint import find_weights
from histosynth.training.gan_task import GanTask
from histosynth.training.log import read_stats
from histosynth.training.loop import train
from histosynth.training.origin import read_origin
from histosynth.training.periodic_metric import PeriodicMetric
from histosynth.training.run import Run
from training_steps import take_step

MakeStore = Callable[..., Path]
MakeTask = Callable[..., GanTask]


def weights_of(run: Path) -> dict[str, Tensor]:
    return load_file(find_weights(run))


def test_a_run_writes_the_documented_files(make_store: MakeStore, tiny_settings: Settings, tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = train(make_store(), out=run, settings=tiny_settings, device="cpu", progress=False)
    manifest, stats = json.loads((run / "manifest.json").read_text()), read_stats(run)
    assert (manifest["status"], manifest["images"], manifest["labels"]) == ("finished", 96, ["dark", "light"])
    assert load_settings(run / "config.toml") == tiny_settings
    assert [line["px"] for line in stats] == [4] * 3 + [8] * 9
    assert [line["alpha"] for line in stats] == pytest.approx([1, 1, 1, 0, 1 / 3, 2 / 3] + [1] * 6)
    scores = [line["score_fake"] - line["score_real"] + line["penalty"] for line in stats]
    assert scores == pytest.approx([line["loss"] for line in stats], abs=1e-5)
    assert (run / "samples" / "0000000096.png").is_file()
    assert (run / "figures" / "loss.png").stat().st_size > 1000
    origin = read_origin(result.weights)
    assert (origin.settings.model_role, origin.images) == ("generator", 96)
    assert set(weights_of(run)) == set(
        Generator(image_px=8, labels=2, latent=8, width=8, full_width_px=32).state_dict()
    )


@pytest.mark.parametrize("loss", ["wgan_gp", "r1"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_equal_seeds_give_equal_runs_and_another_seed_another(make_task: MakeTask, loss: str, precision: str) -> None:
    runs = []
    for seed in (3, 3, 4):
        task = make_task(f"train.seed={seed}", f"gan.loss={loss}", f"train.precision={precision}")
        runs.append([take_step(task, 8 * n) for n in range(8)])
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_neither_microbatch_nor_batch_position_changes_what_is_learned(make_task: MakeTask) -> None:
    """Each microbatch contains complete groups of four, so only rounding differs."""
    one, split = make_task(), make_task("train.microbatch=4")
    for n in range(8):
        logged, other = take_step(one, 8 * n), take_step(split, 8 * n)
        assert other["loss"] == pytest.approx(logged["loss"], rel=2e-4, abs=1e-5)
        assert other["diversity"] == pytest.approx(logged["diversity"], rel=1e-3)
    for name, weight in one.emas[0].weights.items():
        torch.testing.assert_close(split.emas[0].weights[name], weight, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_two_processes_train_and_sample_like_one(
    make_store: MakeStore, tiny_settings: Settings, launcher: Any, tmp_path: Path
) -> None:
    config, store = tmp_path / "tiny.toml", make_store()
    config.write_text(tiny_settings.to_toml())
    for name, processes in (("one", 1), ("two", 2)):
        words = ["train", store, "--out", tmp_path / name, "--config", config, "--device", "cpu", "--quiet"]
        launcher.run(words, processes=processes)
    one, two = weights_of(tmp_path / "one"), weights_of(tmp_path / "two")
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-4  # of weights of about 1
    logged = {name: [line["loss"] for line in read_stats(tmp_path / name)] for name in ("one", "two")}
    assert logged["two"] == pytest.approx(logged["one"], rel=1e-3, abs=1e-4)
    sample = ["sample", tmp_path / "one", "--per-label", 200, "--device", "cpu", "--quiet", "--out"]
    launcher.run([*sample, tmp_path / "by one"])
    launcher.run([*sample, tmp_path / "by two"], processes=2)
    parts = {path.name: path.read_bytes() for path in (tmp_path / "by one").iterdir()}
    assert parts == {path.name: path.read_bytes() for path in (tmp_path / "by two").iterdir()}


def test_it_learns_two_shades_of_gray(make_store: MakeStore, tiny_settings: Settings, tmp_path: Path) -> None:
    """Training patches are about 60 and about 190; after a few seconds of training, so are the fakes."""
    more = ["train.images=2400", "gan.stable_images=600", "gan.fade_images=600", "gan.ema_halflife=300"]
    settings = load_settings(tiny_settings, overrides=[*more, "gan.width=16", "gan.lr=3e-3"])
    means: list[dict[str, float]] = []
    metric = PeriodicMetric(
        name="frechet", every=2400, per_label=40,
        measure=lambda fakes: means.append({k: float(v.mean()) for k, v in fakes.items()}) or 0.0,  # type: ignore[func-returns-value]
    )  # fmt: skip
    train(make_store(), out=tmp_path / "run", settings=settings, device="cpu", progress=False, metrics=[metric])
    assert means[-1]["dark"] == pytest.approx(60, abs=25)
    assert means[-1]["light"] == pytest.approx(190, abs=25)


@pytest.mark.parametrize("bad", [[2, 5], range(8)])
def test_a_diverged_loss_names_step_and_patches_and_keeps_the_checkpoint(
    make_store: MakeStore, tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: list[int]
) -> None:
    calls = iter(range(1000))

    def spoiled(*args: Any, **named: Any) -> DiscriminatorLoss:
        losses = discriminator_loss(*args, **named)
        if next(calls) < 5:
            return losses
        return losses._replace(loss=losses.loss * torch.ones(8).index_fill(0, torch.tensor(list(bad)), float("nan")))

    monkeypatch.setattr("histosynth.training.gan_task.discriminator_loss", spoiled)
    message = (
        r"discriminator: training diverged after 40 images: the loss is nan and the norm of its gradient nan, on "
        rf"{len(bad)} of 8 patches of .*"
    )
    with pytest.raises(HistosynthError, match=message + r"lower gan\.lr.*; the last checkpoint is in .*0032\.pt"):
        train(make_store(), out=tmp_path / "run", settings=tiny_settings, device="cpu", progress=False)
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["images"] == 32


def test_a_label_whose_fakes_collapse_gives_one_warning(make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    forward, task = Generator.forward, make_task()

    def collapsed(self: Generator, z: Tensor, label: Tensor, **named: Any) -> Tensor:
        return forward(self, torch.where(label[:, None] == 1, 1.0, z), label, **named)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(take_step(task, 8 * n)["diversity"] > 0.5 for n in range(150))
    monkeypatch.setattr(Generator, "forward", collapsed)

    def train_until_detected() -> None:
        assert any(take_step(task, 8 * n)["diversity"] < 0.2 for n in range(150, 1200))

    message = r"the diversity of fakes of light is 0\.\d\d times that of .* the generator may have collapsed"
    with pytest.warns(UserWarning, match=message) as caught:
        train_until_detected()
    assert len(caught) == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.batch=6"], "train.batch: 6 images per process; a progan compares images in groups of 4"),
        (["train.microbatch=3"], "train.microbatch: 3 images per process"),
    ],
)
def test_a_batch_that_is_not_a_multiple_of_the_group_is_rejected(
    make_task: MakeTask, overrides: list[str], message: str
) -> None:
    with pytest.raises(HistosynthError, match=message):
        make_task(*overrides)


def test_fp16_is_rejected(make_task: MakeTask) -> None:
    accelerator = {"device": torch.device("cpu"), "num_processes": 1, "process_index": 0, "scaler": object()}
    accelerator["distributed_type"] = DistributedType.NO
    task = make_task()
    with pytest.raises(HistosynthError, match="cannot be trained in fp16"):
        GanTask(task.data, settings=task.settings, accelerator=SimpleNamespace(**accelerator))


def test_out_of_memory_gives_one_line(make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: Any, **__: Any) -> DiscriminatorLoss:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr("histosynth.training.gan_task.discriminator_loss", short)
    message = r"out of memory after 0 images .*; set train\.microbatch to a multiple of 4 below 8"
    with pytest.raises(HistosynthError, match=message):
        make_task().step(0)


def test_another_kind_of_model_cannot_resume_a_run(
    make_store: MakeStore, tiny_settings: Settings, tmp_path: Path
) -> None:
    store = make_store()
    train(store, out=tmp_path / "run", settings=tiny_settings, device="cpu", progress=False)
    wider = load_settings(tiny_settings, overrides=["gan.width=16"])
    with pytest.raises(HistosynthError, match=r"started with gan\.width = 8, not 16"):
        train(store, out=tmp_path / "run", settings=wider, device="cpu", progress=False)
    unet = load_settings(None, overrides=["train.seed=3", "model.channel_mult=[1]"])
    with pytest.raises(HistosynthError, match=r"started with model\.kind = progan, not unet"):
        Run(tmp_path / "run", settings=unet, facts={"data_hash": Store(store).content_hash()}, total=8)


def test_watch_and_info_show_the_values_of_a_gan(
    make_store: MakeStore,
    tiny_settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from histosynth.inspect.describe import describe

    run = tmp_path / "run"
    train(make_store(), out=run, settings=tiny_settings, device="cpu", progress=False)
    monkeypatch.setattr(sys, "argv", ["histosynth", "watch", str(run), "--once"])
    main()
    text, last = capsys.readouterr().out, read_stats(run)[-1]
    assert "growth      8 px, alpha 1.00" in text
    assert f"scores      real {last['score_real']:.3f}, fake {last['score_fake']:.3f}, penalty" in text
    assert f"diversity   {last['diversity']:.2f} of the diversity of real patches" in text
    facts = describe(find_weights(run))
    assert facts["of"] == "generator"
    assert set(facts["settings"]) == {"model", "gan", "train"}
