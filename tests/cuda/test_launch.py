"""Launches on machines with one GPU and with several: calls that would reach CUDA or NCCL are recorded by fakes."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from torch.cuda._utils import _get_device_index
from torch.testing._internal.distributed.fake_pg import FakeStore

from histosynth.errors import HistosynthError
from histosynth.training import launch as module
from histosynth.training.device import pick_device
from histosynth.training.launch import launch

Calls = list[tuple[str, Any]]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Calls]]:
    """Pretend that this machine has some GPUs; return the recorded calls."""
    calls: Calls = []
    init = torch.distributed.init_process_group

    def set_device(device: Any) -> None:
        calls.append(("set_device", _get_device_index(device, optional=False)))  # raises as the real one does

    def init_process_group(backend: str, **options: Any) -> None:
        calls.append(("init_process_group", (backend, options["timeout"])))
        init("fake", store=FakeStore(), rank=1, world_size=2)

    def new_group(*, backend: str, timeout: Any) -> None:
        calls.append(("new_group", (backend, timeout)))

    def pretend(gpus: int) -> Calls:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "set_device", set_device)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
        monkeypatch.setattr("histosynth.training.device.torch.empty", lambda *_, **__: None)
        monkeypatch.setattr(torch.distributed, "init_process_group", init_process_group)
        monkeypatch.setattr(torch.distributed, "new_group", new_group)
        return calls

    yield pretend
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.fixture
def second_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend to be the second of two processes."""
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("device", [None, "cuda"])
def test_one_gpu(machine: Any, device: str | None) -> None:
    calls = machine(1)
    accelerator = launch(device, precision="auto")
    assert accelerator.device.type == "cuda"
    assert accelerator.mixed_precision == "bf16"
    assert calls == []  # the first GPU is the current one


def test_named_gpu_becomes_the_current_one(machine: Any) -> None:
    calls = machine(2)
    assert launch("cuda:1").device.type == "cuda"
    assert calls == [("set_device", 1)]


@pytest.mark.usefixtures("second_of_two")
def test_each_process_takes_its_gpu(machine: Any) -> None:
    calls = machine(2)
    accelerator = launch(None, precision="auto")
    assert (accelerator.device, accelerator.num_processes, accelerator.process_index) == (
        torch.device("cuda:1"), 2, 1
    )  # fmt: skip
    assert calls[0] == ("set_device", 1)  # before any tensor or group
    ((backend, timeout),) = [value for name, value in calls if name == "init_process_group"]
    assert "nccl" in backend
    assert timeout == module.COLLECTIVE_TIMEOUT
    assert timeout.total_seconds() < 3600
    assert accelerator.ddp_handler.gradient_as_bucket_view
    # Waiting for the main process has a group of its own, with a timeout of its own.
    ((backend, timeout),) = [value for name, value in calls if name == "new_group"]
    assert backend == "gloo"
    assert timeout.total_seconds() > 3600


@pytest.mark.usefixtures("second_of_two")
def test_an_extractor_is_built_on_the_gpu_of_its_process(machine: Any) -> None:
    machine(2)
    assert pick_device(None) == torch.device("cuda:1")
    with pytest.raises(HistosynthError, match="omit --device"):
        pick_device("cuda:0")


@pytest.mark.usefixtures("second_of_two")
def test_fewer_gpus_than_processes_is_an_error(machine: Any) -> None:
    machine(1)
    with pytest.raises(HistosynthError, match=r"has only 1; launch one process per GPU"):
        launch(None)


@pytest.mark.parametrize("deterministic", [False, True])
def test_algorithms_are_timed_only_where_asked_and_unless_they_must_be_deterministic(
    machine: Any, monkeypatch: pytest.MonkeyPatch, deterministic: bool
) -> None:
    machine(1)
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: deterministic)
    for asked in (True, False):
        launch(None, time_algorithms=asked)
        assert torch.backends.cudnn.benchmark == (asked and not deterministic)
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("name", ["FSDP", "DEEPSPEED"])
def test_unsupported_configurations_of_accelerate_are_errors(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{name}", "true")
    with pytest.raises(HistosynthError, match=f"configured for {name}.*accelerate config"):
        launch("cpu")
