"""Conversion between tensors that FSDP shards over processes and full tensors; other tensors are left unchanged.

A checkpoint always holds full tensors, so any number of processes can read it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor


def full_copy(tree: Any) -> Any:
    """Return a copy of nested dicts and lists with full tensors on the CPU; all processes must call it."""
    if isinstance(tree, dict):
        return {key: full_copy(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [full_copy(value) for value in tree]
    if isinstance(tree, Tensor):
        full = tree.full_tensor() if isinstance(tree, DTensor) else tree
        return full.detach().to("cpu", copy=True)
    return tree


def shard_like(value: Tensor, like: Tensor) -> Tensor:
    """Return `value` on the device of `like`, and sharded like it."""
    value = value.to(like.device)
    return distribute_tensor(value, like.device_mesh, like.placements) if isinstance(like, DTensor) else value


@contextmanager
def unsharded(module: nn.Module) -> Iterator[None]:
    """Gather the parameters of an FSDP module meanwhile, so that its inner modules can be called directly."""
    if not isinstance(module, FSDPModule):
        yield
        return
    module.unshard()
    try:
        yield
    finally:
        module.reshard()


def load_weights(weights: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    """Copy `values`, full tensors, into `weights`."""
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(shard_like(values[name], weight))


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a state of full tensors."""
    optimizer.load_state_dict(state)
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                moments[name] = shard_like(value, parameter)
