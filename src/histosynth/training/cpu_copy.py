"""Copies of states on the CPU."""

from typing import Any

from torch import Tensor


def cpu_copy(tree: Any) -> Any:
    """Return a copy of nested dicts and lists with all tensors on the CPU; tuples become lists."""
    if isinstance(tree, dict):
        return {key: cpu_copy(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [cpu_copy(value) for value in tree]
    return tree.detach().to("cpu", copy=True) if isinstance(tree, Tensor) else tree
