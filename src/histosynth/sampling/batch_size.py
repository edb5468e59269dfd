"""How many images a network evaluates at a time while sampling.

The last bits of an image depend on that number (`fixed_batch`), so it must not depend on the number of images asked
for, nor on what else is in the memory of a GPU at the moment. It is recorded with the images, and a store keeps it.

On a CPU it is fixed: more images leave the cache. On a GPU, few images leave it waiting for the launch of each kernel,
and many are wasted where the last batch is not full. The number is therefore the smallest power of two whose evaluation
takes `_ENOUGH_FLOP`, unless memory ends before: one evaluation may take half of the total memory (`network_cost`).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch

from histosynth.training.network_cost import Cost, measure

_WITHOUT_MEASUREMENT = 8  # CPU and MPS; a change alters images in the last bit
_CPU_CALL = 32
_ENOUGH_FLOP = 16e12  # by reasoning: kernels then last longer than their launches, and a wasted batch costs little
_LARGEST = 1024
_MEMORY_SHARE = 0.5  # the rest is for weights, the sampler's own images and the workspace of convolutions
_TRACED = 8  # images


class BatchSize(NamedTuple):
    """Numbers of images."""

    call: int
    """Per call of the sampler; it changes no image."""
    evaluation: int
    """Per evaluation of the network; smaller calls are padded to it."""


PickBatch = Callable[[Callable[[int], object]], BatchSize]
"""`pick_batch_size` with all but its first argument."""


def pick_batch_size(run: Callable[[int], object], *, gpu_memory: int | None, batch: int, kept: int | None) -> BatchSize:
    """Return the number of images per call and per evaluation.

    Args:
        run: evaluates the networks on the meta device, for a number of images.
        gpu_memory: total memory of the GPU in bytes, see `gpu_memory`; None on another device.
        batch: `sample.batch`; 0 to choose.
        kept: images per evaluation of the store to be extended; None for a new one.
    """
    if gpu_memory is None:
        size = _WITHOUT_MEASUREMENT
        return BatchSize(call=-(-(batch or _CPU_CALL) // size) * size, evaluation=size)
    size = batch or kept or _automatic(measure(lambda: run(_TRACED)), gpu_memory)
    return BatchSize(call=size, evaluation=size)


def gpu_memory(device: torch.device) -> int | None:
    """Return the total memory of a GPU in bytes; None for another device."""
    return int(torch.cuda.get_device_properties(device).total_memory) if device.type == "cuda" else None


def _automatic(cost: Cost, memory: int) -> int:
    """Return the power of two for a GPU with this memory, given the cost of an evaluation of `_TRACED` images."""
    limit, size = _MEMORY_SHARE * memory, 1
    while size < _LARGEST and size / _TRACED * cost.flop < _ENOUGH_FLOP and 2 * size / _TRACED * cost.memory <= limit:
        size *= 2
    return size
