"""One process or many: Accelerate finds out which, and is all there is between a task and its processes.

Started as it is, a command is one process. Under `torchrun` or `accelerate launch` it is many, one a GPU (or CPUs, by
gloo), and Accelerate wraps the model for them: DDP, or FSDP where `accelerate config` says so.
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
_TIMEOUT = timedelta(days=1)  # that a process waits for another, which may be measuring or writing


def launch(
    device: str | None, *, precision: Precision = "fp32", trackers: Sequence[str] = (), directory: Path | None = None
) -> Accelerator:
    """The processes of this command.

    Args:
        device: name of the device (None: the best there is; under a launcher each process takes its own).
        precision: see `train.precision`.
        trackers: names of Accelerate's trackers, to write to `directory` where they write files.
        directory: for trackers.

    Raises:
        HistosynthError: no such device, fewer GPUs than processes, a precision that the device has not.
    """
    many = int(os.environ.get("WORLD_SIZE", "1")) > 1
    chosen = pick_device(_device_of_rank(device) if many else device)
    if precision == "fp16" and chosen.type == "cpu":
        raise HistosynthError("train.precision = fp16 needs a GPU; on a CPU take fp32 or bf16")
    if precision == "auto":
        precision = "bf16" if has_native_bf16(chosen) else "fp32"
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    # Accelerate keeps one state a process, fixed by its first user; a second call may want another device.
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    accelerator = Accelerator(
        cpu=chosen.type == "cpu",
        mixed_precision="no" if precision == "fp32" else precision,
        log_with=list(trackers) or None,
        project_dir=directory,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_TIMEOUT)] if many else None,
    )
    if accelerator.distributed_type == DistributedType.FSDP and not accelerator.is_fsdp2:
        raise HistosynthError("FSDP of version 1 is not supported; set `fsdp_version: 2` by `accelerate config`")
    if many:
        atexit.unregister(_destroy_process_group)
        atexit.register(_destroy_process_group)
    return accelerator


def _device_of_rank(device: str | None) -> str | None:
    """The device of this process among many."""
    if device not in (None, "cuda", "cpu"):
        raise HistosynthError(f"--device {device}: under a launcher each process takes its own; leave --device out")
    if device == "cpu" or not torch.cuda.is_available():
        return "cpu"
    rank, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if rank >= gpus:
        raise HistosynthError(f"process {rank} of this machine has no GPU: there are {gpus}; launch one process a GPU")
    return f"cuda:{rank}"


def _destroy_process_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def main_process_lock(accelerator: Accelerator, directory: Path) -> AbstractContextManager[None]:
    """Lock a directory (`exclusive_lock`): the main process does it for all."""
    return exclusive_lock(directory) if accelerator.is_main_process else nullcontext()


def sum_over_processes(accelerator: Accelerator, values: Tensor) -> Tensor:
    """Sums over all processes."""
    return cast(Tensor, accelerator.reduce(values, reduction="sum"))


def broadcast_from_main(accelerator: Accelerator, value: Any) -> Any:
    """What the main process has there."""
    if accelerator.num_processes == 1:
        return value
    return broadcast_object_list([value])[0]
