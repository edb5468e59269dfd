"""Choice of the device, and of deterministic algorithms on it.

Under a launcher (`torchrun`, `accelerate launch`, Slurm's `srun`), each process takes the GPU of its local rank.
"""

import os

import torch

from histosynth.errors import HistosynthError


def pick_device(name: str | None = None) -> torch.device:
    """Return the named device; by default CUDA if available, else Apple's MPS, else the CPU.

    Raises:
        HistosynthError: the device is not available; under a launcher, a particular GPU is named, or there are fewer
            GPUs than processes.
    """
    if launched_processes() > 1:
        name = _device_of_rank(name)
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise HistosynthError(
            f"device '{name}' is not available: {str(error).splitlines()[0]}; pass another --device"
        ) from error
    return device


def use_deterministic_algorithms() -> None:
    """Make a GPU repeat every result to the bit, at some cost in time; to be called before CUDA starts.

    An operation that has no deterministic algorithm raises an error. Results still depend on the kind of GPU, the
    versions of PyTorch and its libraries, and the number of processes that sum gradients.
    """
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # one of the two values that PyTorch requires of cuBLAS
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def launched_processes() -> int:
    """Return the number of processes that the launcher started; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _device_of_rank(name: str | None) -> str:
    """Return the device of this process, one of several."""
    if name not in (None, "cuda", "cpu"):
        raise HistosynthError(f"--device {name}: under a launcher, each process takes its own; omit --device")
    if name == "cpu" or not torch.cuda.is_available():
        return "cpu"
    rank, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if rank >= gpus:
        raise HistosynthError(
            f"process {rank} of this machine has no GPU: the machine has only {gpus}; launch one process per GPU"
        )
    return f"cuda:{rank}"


def has_native_bf16(device: torch.device) -> bool:
    """Return whether the device multiplies bf16 in hardware; a CPU emulating it is ten times slower than in fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # Private names, absent from some releases; no public function distinguishes native from emulated bf16.

        probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, probe, bool)() for probe in probes)
    return False
