"""A GAN in training: it grows, resumes to the bit across growth, stops at NaN, and is the same however it is cut."""

import json
import signal
import sys
import time
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
from histosynth.training.checkpoint import find_weights, read_origin
from histosynth.training.data.dataset import PatchDataset
from histosynth.training.gan_task import GanTask
from histosynth.training.launch import launch
from histosynth.training.log import read_stats
from histosynth.training.loop import train
from histosynth.training.periodic_metric import PeriodicMetric
from histosynth.training.run import Run

MakeStore = Callable[..., Path]
# 4 px for 24 images, faded to 8 px by 48: of twelve steps of eight, three are of 4 px and three of a fade.
TINY = [
    "model.kind=progan", "gan.latent=8", "gan.width=8", "gan.stable_images=24", "gan.fade_images=24", "gan.lr=0.01",
    "gan.ema_halflife=40", "train.images=96", "train.batch=8", "train.checkpoint_every=32", "train.samples_every=96",
    "train.seed=3", "train.precision=fp32",
]  # fmt: skip


@pytest.fixture
def tiny_settings() -> Settings:
    return load_settings(None, overrides=TINY)


@pytest.fixture
def make_task(make_store: MakeStore, tiny_settings: Settings) -> Callable[..., GanTask]:
    data = PatchDataset(Store(make_store()))

    def make(*overrides: str) -> GanTask:
        return GanTask(data, settings=load_settings(tiny_settings, overrides=overrides), accelerator=launch("cpu"))

    return make


MakeTask = Callable[..., GanTask]


def weights_of(run: Path) -> dict[str, Tensor]:
    return load_file(find_weights(run))


def same(a: Path, b: Path) -> bool:
    one, other = weights_of(a), weights_of(b)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_leaves_what_the_house_says(make_store: MakeStore, tiny_settings: Settings, tmp_path: Path) -> None:
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
def test_two_runs_are_equal_and_a_seed_makes_another(make_task: MakeTask, loss: str, precision: str) -> None:
    runs = []
    for seed in (3, 3, 4):
        task = make_task(f"train.seed={seed}", f"gan.loss={loss}", f"train.precision={precision}")
        runs.append([task.step(8 * n) for n in range(8)])
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_a_run_goes_on_to_the_bit_before_in_and_after_a_growth_step(
    make_store: MakeStore, tiny_settings: Settings, tmp_path: Path
) -> None:
    store, steps, whole = make_store(), tmp_path / "steps", tmp_path / "whole"
    train(store, out=whole, settings=tiny_settings, device="cpu", progress=False)
    for images in (8, 24, 32, 48, 72, 96):
        settings = load_settings(tiny_settings, overrides=[f"train.images={images}"])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "training ends after")
            result = train(store, out=steps, settings=settings, device="cpu", progress=False)
    assert result.resumed_at == 72
    assert same(steps, whole)
    pick = ("loss", "loss_generator", "score_real", "diversity", "px", "alpha")
    logged = [[[line[key] for key in pick] for line in read_stats(run)] for run in (steps, whole)]
    assert logged[0] == logged[1]


@pytest.mark.slow
def test_kill_9_across_a_growth_step_then_the_same_command_gives_the_same_weights(
    make_store: MakeStore, tiny_settings: Settings, launcher: Any, tmp_path: Path
) -> None:
    """The kill comes while it trains; the state it goes on from is of 4 px, what it goes on to of 8."""
    store = make_store()

    def words(name: str, *overrides: str) -> list[object]:
        config = tmp_path / f"{name}.toml"
        config.write_text(load_settings(tiny_settings, overrides=["train.checkpoint_every=16", *overrides]).to_toml())
        return ["train", store, "--out", tmp_path / name, "--config", config, "--device", "cpu", "--quiet"]

    launcher.run(words("whole"))
    started = launcher.start(words("killed", "train.images=1000000", "train.keep_states=100"))
    states, until = tmp_path / "killed" / "state", time.monotonic() + 120
    while not list(states.glob("state-*.pt")):
        assert time.monotonic() < until
        assert started[0].is_alive(), launcher.finish(started)
        time.sleep(0.005)
    started[0].kill()
    assert {code for code, _, _ in launcher.finish(started)} == {-signal.SIGKILL}
    for later in sorted(states.glob("state-*.pt"))[1:]:  # as if the kill had come at once
        later.unlink()
    assert [path.name for path in states.glob("state-*.pt")] == ["state-000000000016.pt"]
    told = json.loads(launcher.run([*words("killed"), "--json"]))
    assert (told["resumed_at"], told["images"]) == (16, 96)
    assert same(tmp_path / "killed", tmp_path / "whole")


def test_adams_moments_begin_anew_with_each_level(make_task: MakeTask) -> None:
    task, steps = make_task(), []
    for n in range(7):
        task.step(8 * n)
        for optimizer in task.optimizers.values():
            steps.append({int(kept["step"]) for kept in optimizer.state.values()})
    assert steps == [{1}, {1}, {2}, {2}, {3}, {3}, {1}, {1}, {2}, {2}, {3}, {3}, {4, 3}, {4, 3}]  # past colors stay


def test_the_step_that_begins_a_level_shows_what_the_one_before_would(make_task: MakeTask) -> None:
    """At alpha = 0 fakes and reals of 8 px are those of 4 px enlarged; so previews before and after agree."""
    task = make_task()
    for n in range(3):
        task.step(8 * n)
    assert (task.growth(23).px, task.growth(24).px, task.growth(24).alpha) == (4, 8, 0.0)
    after = task.preview(3)
    task.seen = 23
    before = task.preview(3)
    assert all((after[name] == images).all() for name, images in before.items())


def test_neither_microbatch_nor_batch_position_changes_what_is_learned(make_task: MakeTask) -> None:
    """Groups of four are whole in each microbatch, so nothing but rounding differs."""
    one, cut = make_task(), make_task("train.microbatch=4")
    for n in range(8):
        told, other = one.step(8 * n), cut.step(8 * n)
        assert other["loss"] == pytest.approx(told["loss"], rel=2e-4, abs=1e-5)
        assert other["diversity"] == pytest.approx(told["diversity"], rel=1e-3)
    for name, weight in one.emas[0].weights.items():
        torch.testing.assert_close(cut.emas[0].weights[name], weight, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(
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


def test_it_learns_the_two_shades(make_store: MakeStore, tiny_settings: Settings, tmp_path: Path) -> None:
    """Patches of about 60 and of about 190: after some seconds its own are as dark and as light."""
    more = ["train.images=2400", "gan.stable_images=600", "gan.fade_images=600", "gan.ema_halflife=300"]
    settings = load_settings(tiny_settings, overrides=[*more, "gan.width=16", "gan.lr=3e-3"])
    shown: list[dict[str, float]] = []
    metric = PeriodicMetric(
        name="frechet", every=2400, per_label=40,
        measure=lambda made: shown.append({k: float(v.mean()) for k, v in made.items()}) or 0.0,  # type: ignore[func-returns-value]
    )  # fmt: skip
    train(make_store(), out=tmp_path / "run", settings=settings, device="cpu", progress=False, metrics=[metric])
    assert shown[-1]["dark"] == pytest.approx(60, abs=25)
    assert shown[-1]["light"] == pytest.approx(190, abs=25)


@pytest.mark.parametrize("bad", [[2, 5], range(8)])
def test_a_diverging_loss_names_step_and_patches_and_keeps_the_checkpoint(
    make_store: MakeStore, tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: list[int]
) -> None:
    calls = iter(range(1000))

    def spoiled(*args: Any, **named: Any) -> DiscriminatorLoss:
        found = discriminator_loss(*args, **named)
        if next(calls) < 5:
            return found
        return found._replace(loss=found.loss * torch.ones(8).index_fill(0, torch.tensor(list(bad)), float("nan")))

    monkeypatch.setattr("histosynth.training.gan_task.discriminator_loss", spoiled)
    message = rf"discriminator: the loss is nan and its gradient nan after 40 images, on {len(bad)} of 8 patches of .*"
    with pytest.raises(HistosynthError, match=message + r"lower gan\.lr.*; the last checkpoint is in .*0032\.pt"):
        train(make_store(), out=tmp_path / "run", settings=tiny_settings, device="cpu", progress=False)
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["images"] == 32


def test_a_label_whose_fakes_are_all_alike_raises_an_alarm_once(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, task = Generator.forward, make_task()

    def collapsed(self: Generator, z: Tensor, label: Tensor, **named: Any) -> Tensor:
        return honest(self, torch.where(label[:, None] == 1, 1.0, z), label, **named)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(task.step(8 * n)["diversity"] > 0.5 for n in range(150))
    monkeypatch.setattr(Generator, "forward", collapsed)

    def until_it_is_seen() -> None:
        assert any(task.step(8 * n)["diversity"] < 0.2 for n in range(150, 1200))

    message = r"fakes of light differ 0\.\d\d times as much .* the generator may have collapsed"
    with pytest.warns(UserWarning, match=message) as told:
        until_it_is_seen()
    assert len(told) == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.batch=6"], "train.batch: 6 images on each process; a progan compares images in groups of 4"),
        (["train.microbatch=3"], "train.microbatch: 3 images on each process"),
    ],
)
def test_a_batch_that_cuts_a_group_is_refused(make_task: MakeTask, overrides: list[str], message: str) -> None:
    with pytest.raises(HistosynthError, match=message):
        make_task(*overrides)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"distributed_type": DistributedType.FSDP}, "does not train under FSDP"),
        ({"scaler": object()}, "does not train in fp16"),
    ],
)
def test_what_it_lacks_is_refused(make_task: MakeTask, changed: dict[str, object], message: str) -> None:
    given = {"device": torch.device("cpu"), "num_processes": 1, "process_index": 0, "scaler": None}
    given |= {"distributed_type": DistributedType.NO} | changed
    task = make_task()
    with pytest.raises(HistosynthError, match=message):
        GanTask(task.data, settings=task.settings, accelerator=SimpleNamespace(**given))


def test_memory_that_runs_out_is_one_line(make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: Any, **__: Any) -> DiscriminatorLoss:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr("histosynth.training.gan_task.discriminator_loss", short)
    with pytest.raises(HistosynthError, match=r"memory ran out after 0 images .*; set train\.microbatch below 8"):
        make_task().step(0)


def test_a_run_too_short_to_grow_up_says_so(make_task: MakeTask) -> None:
    with pytest.warns(UserWarning, match="ends after 40 images at 8 px, which .* 8; it is full-grown after 48"):
        make_task("train.images=40")


def test_another_kind_of_model_cannot_go_on_with_a_run(
    make_store: MakeStore, tiny_settings: Settings, tmp_path: Path
) -> None:
    store = make_store()
    train(store, out=tmp_path / "run", settings=tiny_settings, device="cpu", progress=False)
    wider = load_settings(tiny_settings, overrides=["gan.width=16"])
    with pytest.raises(HistosynthError, match=r"begun with gan\.width = 8, not 16"):
        train(store, out=tmp_path / "run", settings=wider, device="cpu", progress=False)
    unet = load_settings(None, overrides=["train.seed=3", "model.channel_mult=[1]"])
    with pytest.raises(HistosynthError, match=r"begun with model\.kind = progan, not unet"):
        Run(tmp_path / "run", settings=unet, facts={"data_hash": Store(store).content_hash()}, total=8)


def test_watch_and_info_show_what_a_gan_is_about(
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
    assert f"diversity   {last['diversity']:.2f} of that of real patches" in text
    facts = describe(find_weights(run))
    assert facts["of"] == "generator"
    assert set(facts["settings"]) == {"model", "gan", "train"}
