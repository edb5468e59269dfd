"""Memory, compilation, budgets, trackers and periodic metrics: what they may change in training, and what not."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from histosynth.cli import main
from histosynth.config import Settings, load_settings
from histosynth.errors import HistosynthError
from histosynth.store.store import Store
from histosynth.training.data.dataset import PatchDataset
from histosynth.training.diffusion_task import DiffusionTask
from histosynth.training.launch import launch
from histosynth.training.log import read_stats
from histosynth.training.loop import train
from histosynth.training.model_task import Images
from histosynth.training.periodic_metric import PeriodicMetric
from training_steps import images_at, take_step

MakeStore = Callable[..., Path]


@pytest.fixture
def make_task(make_store: MakeStore, tiny_settings: Settings) -> Callable[..., DiffusionTask]:
    data = PatchDataset(Store(make_store()))

    def make(*overrides: str) -> DiffusionTask:
        settings = load_settings(tiny_settings, overrides=["model.channels=24", *overrides])
        return DiffusionTask(data, settings=settings, accelerator=launch("cpu"))

    return make


MakeTask = Callable[..., DiffusionTask]


def test_the_random_variables_of_an_image_depend_only_on_its_position(make_task: MakeTask) -> None:
    overrides = ("train.stain_jitter=0.1", "train.label_drop=0.5")
    small, large = make_task(*overrides), make_task(*overrides, "train.batch=24")
    parts = [images_at(small, seen) for seen in (0, 8, 16)]
    batch = images_at(large, 0)
    assert all(
        torch.equal(torch.cat(pieces), all_) for pieces, all_ in zip(zip(*parts, strict=True), batch, strict=True)
    )
    assert len(set(batch.t.tolist())) > 15
    assert 4 < (batch.label == 2).sum() < 20


def test_the_gradient_of_the_mean_loss_does_not_depend_on_the_microbatch(make_task: MakeTask) -> None:
    gradients = []
    for microbatch in (0, 3, 1):
        task = make_task(f"train.microbatch={microbatch}")
        for step in range(3):
            task.step(8 * step)
        gradients.append({name: p.grad for name, p in task.model.named_parameters()})
    for accumulated in gradients[1:]:
        for name, value in gradients[0].items():
            if "qkv.bias" not in name:  # the bias of the keys has no effect: its gradient is rounding
                torch.testing.assert_close(accumulated[name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_out_of_memory_halves_the_microbatch_and_changes_nothing_else(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_losses, sizes = DiffusionTask.losses, []

    def losses(self: DiffusionTask, images: Images) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        sizes.append(len(images.x))
        if len(images.x) > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return true_losses(self, images)

    plain = make_task("train.microbatch=2")
    expected = [take_step(plain, 8 * n) for n in range(3)]
    monkeypatch.setattr(DiffusionTask, "losses", losses)
    short = make_task()
    with pytest.warns(UserWarning, match=r"out of memory: from now on \d images per forward pass") as caught:
        logged = [take_step(short, 8 * n) for n in range(3)]
    assert [str(one.message)[27] for one in caught] == ["4", "2"]
    assert sizes == [8, 4] + 3 * [2, 2, 2, 2]
    assert logged == expected
    weights = short.emas[0].weights
    assert all(torch.equal(weights[name], value) for name, value in plain.emas[0].weights.items())


def test_one_image_too_large_for_memory_gives_one_line(make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    def losses(self: DiffusionTask, images: Images) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")

    monkeypatch.setattr(DiffusionTask, "losses", losses)
    with (
        pytest.warns(UserWarning, match="out of memory: from now on"),
        pytest.raises(HistosynthError, match=r"on a single image; set model\.checkpoint=true"),
    ):
        make_task().step(0)


def test_failed_compilation_gives_a_warning_and_training_is_the_same(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> object:
        raise RuntimeError("no C++ compiler\nwas found")

    monkeypatch.setattr("torch.compile", fail)
    monkeypatch.setattr("torch.nn.Module.compile", fail)
    message = r"train\.compile failed \(no C\+\+ compiler was found\); training continues"
    with pytest.warns(UserWarning, match=message):
        compiled = make_task("train.compile=true")
    plain = make_task()
    assert [take_step(compiled, 8 * n) for n in range(2)] == [take_step(plain, 8 * n) for n in range(2)]


@pytest.mark.parametrize("override", ["model.checkpoint=false", "model.checkpoint=true", "diffusion.variance=learned"])
def test_the_network_is_compiled_once_and_whole_and_previews_run_it_as_written(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch, override: str
) -> None:
    expected = make_task(override).preview(2)
    task, graphs = make_task(override), list[Any]()
    network: Any = task.model.network

    def backend(graph: Any, inputs: Sequence[Any]) -> Any:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(network, "compile", partial(network.compile, backend=backend))
    task._compile()
    assert len(graphs) == 1
    assert np.isfinite([take_step(task, 8 * n)["loss"] for n in range(2)]).all()
    assert len(graphs) == 1
    task.preview(2)
    assert len(graphs) == 1
    fresh = make_task(override)
    monkeypatch.setattr(fresh.model.network, "compile", partial(fresh.model.network.compile, backend=backend))
    fresh._compile()
    for name, images in fresh.preview(2).items():
        np.testing.assert_array_equal(images, expected[name])


@pytest.mark.parametrize(
    ("device", "images", "expected"),
    [("cuda", 500_000, True), ("cuda", 499_000, False), ("cpu", 10_000_000, False)],
)
def test_long_runs_on_cuda_compile_by_themselves_unless_they_must_be_deterministic(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch, device: str, images: int, expected: bool
) -> None:
    task = make_task(f"train.images={images}")
    task.device = torch.device(device)
    assert task._compiles_by_itself() == expected
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    assert not task._compiles_by_itself()


def test_fp16_needs_a_gpu() -> None:
    with pytest.raises(HistosynthError, match="fp16 needs a GPU"):
        launch("cpu", precision="fp16")


def test_a_process_without_its_own_gpu_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(HistosynthError, match="process 1 of this machine has no GPU: the machine has only 1"):
        launch(None)
    with pytest.raises(HistosynthError, match="omit --device"):
        launch("cuda:0")


def test_limits_of_epochs_and_hours_end_a_run(make_store: MakeStore, tiny_settings: Settings, tmp_path: Path) -> None:
    store = make_store()  # 18 patches to train on
    epochs = load_settings(tiny_settings, overrides=["train.epochs=2.5"])
    result = train(store, out=tmp_path / "epochs", settings=epochs, device="cpu", progress=False)
    assert (result.images, result.ended) == (48, "images")  # 45, in whole batches
    hours = load_settings(tiny_settings, overrides=["train.hours=1e-9"])
    result = train(store, out=tmp_path / "hours", settings=hours, device="cpu", progress=False)
    assert (result.images, result.ended) == (8, "hours")
    assert json.loads((tmp_path / "hours" / "manifest.json").read_text())["status"] == "finished"
    assert result.weights.is_file()
    result = train(store, out=tmp_path / "hours", settings=tiny_settings, device="cpu", progress=False)
    assert (result.resumed_at, result.images) == (8, 96)


def test_trackers_of_accelerate_get_the_log(make_store: MakeStore, tiny_settings: Settings, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(make_store(), out=tmp_path / "run", settings=tiny_settings, device="cpu", progress=False)
    (directory,) = (tmp_path / "run" / "tensorboard").iterdir()
    events = EventAccumulator(str(directory)).Reload().Scalars("loss")
    stats = read_stats(tmp_path / "run")
    assert [event.step for event in events] == [line["images"] for line in stats]
    assert [event.value for event in events] == pytest.approx([line["loss"] for line in stats], rel=1e-6)
    for name, message in (("wandbb", "no tracker 'wandbb' .did you mean 'wandb'"), ("aim", "pip install aim")):
        settings = load_settings(tiny_settings, overrides=[f"train.trackers={name}"])
        with pytest.raises(HistosynthError, match=message):
            train(tmp_path / "store", out=tmp_path / "other", settings=settings, device="cpu", progress=False)


def test_the_best_weights_by_a_metric_are_kept(make_store: MakeStore, tiny_settings: Settings, tmp_path: Path) -> None:
    """The second of three measurements is the best, and a resumed run keeps it."""
    store, run, distances = make_store(), tmp_path / "run", iter([3.0, 1.0, 2.0, 1.5])
    shapes: list[dict[str, tuple[int, ...]]] = []

    def measure(images: Mapping[str, np.ndarray]) -> float:
        shapes.append({name: group.shape for name, group in images.items()})
        return next(distances)

    metric = PeriodicMetric(name="frechet", every=32, per_label=40, measure=measure)
    train(store, out=run, settings=tiny_settings, device="cpu", progress=False, metrics=[metric])
    longer = load_settings(tiny_settings, overrides=["train.images=128"])
    train(store, out=run, settings=longer, device="cpu", progress=False, metrics=[metric])
    assert shapes == 4 * [{"dark": (40, 8, 8, 3), "light": (40, 8, 8, 3)}]
    assert [line["frechet"] for line in read_stats(run) if "frechet" in line] == [3.0, 1.0, 2.0, 1.5]
    assert [p.name for p in (run / "weights").glob("best-*")] == ["best-0000000064.safetensors"]


def test_watch_shows_the_progress_of_a_run(
    make_store: MakeStore,
    tiny_settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    train(make_store(), out=run, settings=tiny_settings, device="cpu", progress=False)

    def watch(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["histosynth", "watch", str(run), *words])
        main()
        return capsys.readouterr().out

    facts, stats = json.loads(watch("--once", "--json")), read_stats(run)
    assert (facts["status"], facts["images"], facts["total_images"], facts["seconds_left"]) == ("finished", 96, 96, 0.0)
    assert facts["losses"] == pytest.approx([line["loss"] for line in stats])
    assert facts["checkpoint"].endswith("state-000000000096.pt")
    text = watch()
    assert "96 of 96 images (100.0 %)" in text
    highest = max(range(12), key=lambda n: stats[n]["loss"])
    assert text.split("loss")[1].split()[1][highest] == "█"

    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "status": "running", "total_images": 192}))
    assert json.loads(watch("--once", "--json"))["seconds_left"] == pytest.approx(96 / stats[-1]["images_per_second"])
