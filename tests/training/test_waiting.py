"""Processes wait for each other where one may take hours, and there in the group that has a day for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator

from histosynth.config import Settings
from histosynth.sampling import generate as sampling
from histosynth.training import launch, loop
from histosynth.training.data.dataset import PatchDataset


def test_all_wait_for_the_patches_before_they_exchange_anything(
    make_store: Callable[..., Path], tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task wraps its network in DDP, whose first exchange would time out while one process still decodes."""
    order = []
    of, task = PatchDataset.of, loop._TASKS["denoiser"]

    def record(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            order.append(name)
            return function(*args, **kwargs)

        return recorded

    monkeypatch.setattr(PatchDataset, "of", record("patches", of))
    monkeypatch.setattr(loop, "wait_for_all", record("wait", loop.wait_for_all))
    monkeypatch.setattr(loop, "_TASKS", {"denoiser": record("task", task)})
    loop.train(make_store(), out=tmp_path / "run", settings=tiny_settings, device="cpu", progress=False)
    assert order[:3] == ["patches", "wait", "task"]


def test_the_number_of_samples_is_summed_by_processes_that_may_finish_hours_apart(
    make_store: Callable[..., Path], tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = loop.train(make_store(), out=tmp_path / "run", settings=tiny_settings, device="cpu", progress=False).run

    def reduce(self: Accelerator, *_: object, **__: object) -> None:
        pytest.fail("the group of Accelerate, with a timeout of minutes, is used")

    monkeypatch.setattr(Accelerator, "reduce", reduce)
    result = sampling.generate(
        run, out=tmp_path / "samples", settings=tiny_settings.sample, per_label=2, device="cpu", progress=False
    )
    assert result.generated == 4
    assert launch.COLLECTIVE_TIMEOUT < launch._WAITING_TIMEOUT
