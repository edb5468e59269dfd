"""One process or several, detected by Accelerate, which is the only layer between a task and its processes.

A command started directly is one process. Under `torchrun`, `accelerate launch` or Slurm's `srun` it is several, one
per GPU (or on CPUs, with gloo). Accelerate then wraps the model in DDP.

Processes communicate in two groups. Gradients and sums are exchanged by Accelerate, with NCCL on GPUs: all processes
arrive at about the same time, and if one does not, its machine is gone, so the others end after 15 minutes. The other
group, with gloo, is for waiting: while some process decodes patches, measures or writes, which can take hours. It also
serves numbers that are on the CPU, since an exchange between GPUs would have to wait for all work before it.
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
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
from torch import Tensor

from histosynth.errors import HistosynthError
from histosynth.rundir import exclusive_lock
from histosynth.training.device import has_native_bf16, launched_processes, pick_device

Precision = Literal["auto", "fp32", "bf16", "fp16"]
COLLECTIVE_TIMEOUT = timedelta(minutes=15)
"""Time after which processes end if another one does not take part in an exchange of gradients or sums."""
_WAITING_TIMEOUT = timedelta(days=1)


def launch(
    device: str | None,
    *,
    precision: Precision = "fp32",
    time_algorithms: bool = False,
    trackers: Sequence[str] = (),
    directory: Path | None = None,
) -> Accelerator:
    """Return the accelerator, which represents the processes of this command.

    Args:
        device: name of the device (None: the best available; under a launcher, each process takes its own).
        precision: see `train.precision`.
        time_algorithms: let cuDNN time its algorithms for each new shape and take the fastest, unless deterministic
            algorithms are required. Processes may then choose different ones, which round differently.
        trackers: names of Accelerate's trackers.
        directory: directory for the files of the trackers.

    Raises:
        HistosynthError: no such device, fewer GPUs than processes, a precision that the device does not support, FSDP
            or DeepSpeed in Accelerate's configuration.
    """
    # Device and precision.
    for name in ("FSDP", "DEEPSPEED"):
        if os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() in ("true", "1"):
            raise HistosynthError(
                f"Accelerate is configured for {name}, which is not supported: every GPU holds the whole model; run "
                "`accelerate config` again and choose multi-GPU without it"
            )
    several = launched_processes() > 1
    torch_device = pick_device(device)
    if precision == "fp16" and torch_device.type == "cpu":
        raise HistosynthError("train.precision = fp16 needs a GPU; on a CPU, set it to fp32 or bf16")
    if precision == "auto":
        precision = "bf16" if has_native_bf16(torch_device) else "fp32"
    if torch_device.index is not None and torch_device.type == "cuda":  # "cuda" alone is the current one already
        torch.cuda.set_device(torch_device)
    # Matrix products of fp32 keep all their digits, which the mixture at low noise needs, rather than those of TF32.
    # Convolutions of fp32 on a GPU use TF32, which is PyTorch's default.
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.benchmark = time_algorithms and not torch.are_deterministic_algorithms_enabled()
    # Accelerate keeps one state per process, fixed by its first user; a second call may need another device.
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    accelerator = Accelerator(
        cpu=torch_device.type == "cpu",
        mixed_precision="no" if precision == "fp32" else precision,
        log_with=list(trackers) or None,
        project_dir=directory,
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=COLLECTIVE_TIMEOUT),
            # Gradients are summed where they are, rather than in a second copy.
            DistributedDataParallelKwargs(gradient_as_bucket_view=True),
        ]
        if several
        else None,
    )
    if several:
        global _waiting_group
        _waiting_group = torch.distributed.new_group(backend="gloo", timeout=_WAITING_TIMEOUT)
        atexit.unregister(_destroy_process_group)
        atexit.register(_destroy_process_group)
    return accelerator


_waiting_group: Any = None


def _destroy_process_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def main_process_lock(accelerator: Accelerator, directory: Path) -> AbstractContextManager[None]:
    """Lock a directory (`exclusive_lock`) for all processes, by the main process."""
    return exclusive_lock(directory) if accelerator.is_main_process else nullcontext()


def sum_over_processes(accelerator: Accelerator, values: Tensor) -> Tensor:
    """Return the sums of the values over all processes."""
    return cast(Tensor, accelerator.reduce(values, reduction="sum"))


def sum_numbers(accelerator: Accelerator, numbers: Sequence[int]) -> list[int]:
    """Return the sums of numbers over all processes, which wait for each other but not for their GPUs."""
    if accelerator.num_processes == 1:
        return list(numbers)
    sums = torch.tensor(numbers)
    torch.distributed.all_reduce(sums, group=_waiting_group)
    return sums.tolist()


def wait_for_all(accelerator: Accelerator) -> None:
    """Wait, for hours if need be, until every process has arrived here."""
    gather_objects(accelerator, None)


def broadcast_from_main(accelerator: Accelerator, value: Any) -> Any:
    """Return the value of the main process on every process, which wait for it, for hours if need be."""
    return gather_objects(accelerator, value if accelerator.is_main_process else None)[0]


def gather_objects(accelerator: Accelerator, value: Any) -> list[Any]:
    """Return the values of all processes on every process, which wait for each other, for hours if need be."""
    if accelerator.num_processes == 1:
        return [value]
    values: list[Any] = [None] * int(accelerator.num_processes)
    torch.distributed.all_gather_object(values, value, group=_waiting_group)
    return values
