"""Tensors that FSDP spreads over processes, as whole ones and back; plain tensors go through unchanged.

So a checkpoint holds whole tensors, whoever wrote it, and any number of processes reads it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor


def full_copy(tree: Any) -> Any:
    """A copy on the CPU of all tensors in nested dicts and lists. All processes must call it."""
    if isinstance(tree, dict):
        return {key: full_copy(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [full_copy(value) for value in tree]
    if isinstance(tree, Tensor):
        full = tree.full_tensor() if isinstance(tree, DTensor) else tree
        return full.detach().to("cpu", copy=True)
    return tree


def shard_like(value: Tensor, like: Tensor) -> Tensor:
    """`value` on the device of `like`, and spread as it is."""
    value = value.to(like.device)
    return distribute_tensor(value, like.device_mesh, like.placements) if isinstance(like, DTensor) else value


@contextmanager
def unsharded(module: nn.Module) -> Iterator[None]:
    """Within, what is inside a module that FSDP wrapped may be called by itself."""
    if not isinstance(module, FSDPModule):
        yield
        return
    module.unshard()
    try:
        yield
    finally:
        module.reshard()


def load_weights(weights: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    """Write `values`, whole, into `weights`."""
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(shard_like(values[name], weight))


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a state of whole tensors."""
    optimizer.load_state_dict(state)
    for parameter, kept in optimizer.state.items():
        for name, value in kept.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                kept[name] = shard_like(value, parameter)
