"""Shared parts of extractors: the device, verified weights, and processing in chunks."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from histosynth.errors import HistosynthError


def resolve_device(name: str | None) -> torch.device:
    """Return the device with this name (`None`: a GPU if available, else the CPU).

    Raises:
        HistosynthError: there is no such device.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0][:80]
        raise HistosynthError(f"--device {name}: no such device here ({reason}); try --device cpu") from error
    return device


def read_verified_weights(path: Path, *, sha256: str, remedy: str) -> bytes:
    """Read a weights file, which must be the one that all results of this extractor are computed with.

    Raises:
        HistosynthError: it is missing, or has another SHA-256; `remedy` states where to get the right one.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise HistosynthError(f"the weights {path} cannot be read ({error.strerror}); {remedy}") from error
    actual = hashlib.sha256(content).hexdigest()
    if actual != sha256:
        raise HistosynthError(f"the weights {path} have SHA-256 {actual[:12]}…, not {sha256[:12]}…; {remedy}")
    return content


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the names and values of a state dict, which identifies weights in any file."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@torch.inference_mode()
def run_in_chunks(
    network: Callable[[Tensor], Mapping[str, Tensor]],
    images: NDArray[np.uint8],
    *,
    device: torch.device,
    cpu_chunk: int,
) -> dict[str, NDArray[np.float32]]:
    """Return the network's outputs for (N, H, W, 3) uint8 images, passed as (n, 3, H, W) float32 in [0, 255].

    A CPU processes `cpu_chunk` images at a time, since more do not fit its cache; a GPU processes all at once.
    """
    # TF32 and choosing kernels by timing would make features depend on the GPU and on the run.
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        x = torch.from_numpy(np.array(images, order="C")).to(device).permute(0, 3, 1, 2)
        size = cpu_chunk if device.type == "cpu" else len(x)
        parts = [network(part.float()) for part in torch.split(x, size)]
        return {name: torch.cat([part[name] for part in parts]).float().cpu().numpy() for name in parts[0]}
