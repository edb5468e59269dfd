"""Autocast, switched off where it would compute in float32 what keeps the type of its input."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def autocast_off(x: Tensor) -> AbstractContextManager[object]:
    """Switch autocast off for operations on `x`, on a GPU; that of other devices changes none of those in question."""
    return torch.autocast("cuda", enabled=False) if x.device.type == "cuda" else nullcontext()
