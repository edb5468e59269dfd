"""One process or several, detected by Accelerate, which is the only layer between a task and its processes.

A command started directly is one process. Under `torchrun` or `accelerate launch` it is several, one per GPU (or on
CPUs, with gloo). Accelerate then wraps the model in DDP, or in FSDP if `accelerate config` asks for it.
"""

import atexit
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, cast

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import DistributedType, InitProcessGroupKwargs, broadcast_object_list
from torch import Tensor

from histosynth.errors import HistosynthError
from histosynth.rundir import exclusive_lock
from histosynth.training.device import has_native_bf16, pick_device

Precision = Literal["auto", "fp32", "bf16", "fp16"]
_TIMEOUT = timedelta(days=1)  # for a process that waits for another, which may be measuring or writing


def launch(
    device: str | None, *, precision: Precision = "fp32", trackers: Sequence[str] = (), directory: Path | None = None
) -> Accelerator:
    """Return the accelerator, which represents the processes of this command.

    Args:
        device: name of the device (None: the best available; under a launcher, each process takes its own).
        precision: see `train.precision`.
        trackers: names of Accelerate's trackers.
        directory: directory for the files of the trackers.

    Raises:
        HistosynthError: no such device, fewer GPUs than processes, a precision that the device does not support.
    """
    # Device and precision.
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    torch_device = pick_device(_device_of_rank(device) if several else device)
    if precision == "fp16" and torch_device.type == "cpu":
        raise HistosynthError("train.precision = fp16 needs a GPU; on a CPU, set it to fp32 or bf16")
    if precision == "auto":
        precision = "bf16" if has_native_bf16(torch_device) else "fp32"
    if torch_device.type == "cuda":
        torch.cuda.set_device(torch_device)
    # Accelerate keeps one state per process, fixed by its first user; a second call may need another device.
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    accelerator = Accelerator(
        cpu=torch_device.type == "cpu",
        mixed_precision="no" if precision == "fp32" else precision,
        log_with=list(trackers) or None,
        project_dir=directory,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_TIMEOUT)] if several else None,
    )
    if accelerator.distributed_type == DistributedType.FSDP and not accelerator.is_fsdp2:
        raise HistosynthError("FSDP version 1 is not supported; set `fsdp_version: 2` with `accelerate config`")
    if several:
        atexit.unregister(_destroy_process_group)
        atexit.register(_destroy_process_group)
    return accelerator


def _device_of_rank(device: str | None) -> str | None:
    """Return the device of this process, one of several."""
    if device not in (None, "cuda", "cpu"):
        raise HistosynthError(f"--device {device}: under a launcher, each process takes its own; omit --device")
    if device == "cpu" or not torch.cuda.is_available():
        return "cpu"
    rank, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if rank >= gpus:
        raise HistosynthError(
            f"process {rank} of this machine has no GPU: the machine has only {gpus}; launch one process per GPU"
        )
    return f"cuda:{rank}"


def _destroy_process_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def main_process_lock(accelerator: Accelerator, directory: Path) -> AbstractContextManager[None]:
    """Lock a directory (`exclusive_lock`) for all processes, by the main process."""
    return exclusive_lock(directory) if accelerator.is_main_process else nullcontext()


def sum_over_processes(accelerator: Accelerator, values: Tensor) -> Tensor:
    """Return the sums of the values over all processes."""
    return cast(Tensor, accelerator.reduce(values, reduction="sum"))


def broadcast_from_main(accelerator: Accelerator, value: Any) -> Any:
    """Return the value of the main process on every process."""

    if accelerator.num_processes == 1:
        return value
    return broadcast_object_list([value])[0]
