"""The number of images per evaluation: computed from arithmetic and memory, recorded, and kept by a store."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from histosynth.config import SampleSettings
from histosynth.errors import HistosynthError
from histosynth.sampling import batch_size, edit, generate
from histosynth.sampling.batch_size import Cost, pick_batch_size
from histosynth.sampling.edit import EditOptions, translate
from histosynth.sampling.sources import Selection
from histosynth.store.store import Store

MakeRun = Callable[..., Path]
GIB = 1 << 30


def pick(*, flop: float, memory: float, gpu: int | None = 80 * GIB, batch: int = 0, kept: int | None = None) -> Any:
    """Pick the size for a network with this cost per image."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_size, "measure", lambda run: Cost(flop * run(), memory * run()))
        return pick_batch_size(lambda images: images, gpu_memory=gpu, batch=batch, kept=kept)


@pytest.mark.parametrize(
    ("flop", "memory", "expected"),
    [
        (1e9, 1e5, 1024),  # a small network: the largest
        (1e12, 1e5, 16),  # 16e12 operations are enough
        (0.9e12, 1e5, 32),
        (1e9, 1e9, 32),  # 32e9 bytes are below half of the memory, 64e9 are not
        (1e9, 1e11, 1),
    ],
)
def test_a_gpu_gets_the_smallest_power_of_two_that_fills_it_and_fits(flop: float, memory: float, expected: int) -> None:
    assert pick(flop=flop, memory=memory) == (expected, expected)


def test_a_number_that_is_stated_or_kept_is_not_computed() -> None:
    assert pick(flop=1e9, memory=1e5, kept=48) == (48, 48)
    assert pick(flop=1e9, memory=1e5, batch=5, kept=48) == (5, 5)


@pytest.mark.parametrize(("batch", "call"), [(0, 32), (1, 8), (5, 8), (64, 64)])
def test_a_cpu_always_evaluates_as_many_and_pads_no_call_but_the_last(batch: int, call: int) -> None:
    assert pick(flop=1e9, memory=1e5, gpu=None, batch=batch, kept=48) == (call, 8)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Pretend that this machine has a GPU with so many bytes of memory."""

    def pretend(memory: float) -> None:
        for module in (generate, edit):
            monkeypatch.setattr(module, "gpu_memory", lambda _: int(memory))

    return pretend


def sample(run: Path, out: Path, *, per_label: int = 1, batch: int = 0) -> None:
    settings = SampleSettings(steps=1, batch=batch)
    generate.generate(run, out=out, settings=settings, per_label=per_label, device="cpu", progress=False)


def recorded(store: Path) -> int:
    made_with = json.loads((store / "manifest.json").read_text())["made_with"]
    return int(made_with["images_per_evaluation"])


def test_a_store_keeps_the_number_that_it_was_begun_with(make_run: MakeRun, tmp_path: Path, gpu: Any) -> None:
    run, out = make_run(), tmp_path / "out"
    gpu(2e6)
    sample(run, out)
    begun_with = recorded(out)
    gpu(8e6)
    sample(run, tmp_path / "another")
    assert begun_with < recorded(tmp_path / "another")
    sample(run, out, per_label=2)
    assert recorded(out) == begun_with
    (out / "manifest.json").unlink()  # as if interrupted
    sample(run, out, per_label=3)
    assert recorded(out) == begun_with
    assert len(Store(out)) == 9
    with pytest.raises(HistosynthError, match=f"images_per_evaluation = {begun_with}, not {2 * begun_with}"):
        sample(run, out, per_label=4, batch=2 * begun_with)


def test_edits_keep_it_too(make_run: MakeRun, tmp_path: Path, gpu: Any) -> None:
    run, out, options = make_run(), tmp_path / "out", EditOptions(steps=1, device="cpu", progress=False)
    sample(run, tmp_path / "store")
    selection = Selection(paths=[tmp_path / "store"], patches=["run_0"])
    for memory in (2e6, 8e6):
        gpu(memory)
        translate(run, selection, out=out, options=options)
    gpu(2e6)
    translate(run, selection, out=tmp_path / "another", options=options)
    assert recorded(out) == recorded(tmp_path / "another")


def test_exhausted_memory_is_one_line_with_the_remedy(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("histosynth.diffusion.edm.EDMDenoiser.evaluate", fail)
    with pytest.raises(HistosynthError, match=r"out of GPU memory with 8 images per evaluation; .*sample\.batch=4"):
        sample(make_run(), tmp_path / "out")
