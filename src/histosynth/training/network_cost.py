"""The cost of evaluating a network: its arithmetic and memory, computed without running it.

The network is evaluated on the meta device, where tensors have shapes but no values.
"""

import copy
from collections.abc import Callable
from itertools import chain
from typing import Any, NamedTuple, TypeVar
from weakref import finalize

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakIdKeyDictionary

from histosynth.diffusion.denoiser import Denoiser
from histosynth.diffusion.noisy_classifier import NoisyClassifier

Module = TypeVar("Module", bound=nn.Module)


class Cost(NamedTuple):
    """What an evaluation takes."""

    flop: float
    memory: float
    """In bytes, at the peak."""


def measure(function: Callable[[], object]) -> Cost:
    """Run a function on tensors of the meta device; return its arithmetic, and the peak of the memory it allocates."""
    with _Counter() as counter:
        function()
    return Cost(flop=counter.flop, memory=counter.peak)


def on_meta(module: Module) -> Module:
    """Return a copy of a module with its parameters and buffers on the meta device, where they take no memory."""
    tensors = chain(module.parameters(), module.buffers())
    return copy.deepcopy(module, {id(tensor): torch.empty_like(tensor, device="meta") for tensor in tensors})


def evaluation_on_meta(
    denoiser: Denoiser, *, image_px: int, classifier: NoisyClassifier | None = None
) -> Callable[[int], None]:
    """Return a function that evaluates a denoiser and a guiding classifier on the meta device, for a number of images.

    One time serves all denoisers: the values do not matter, and neither do those of the images.
    """

    def run(images: int) -> None:
        x, t = torch.zeros(images, 3, image_px, image_px, device="meta"), torch.zeros(images, device="meta")
        label = torch.zeros(images, dtype=torch.int64, device="meta")
        with torch.no_grad():
            on_meta(denoiser).evaluate(x, t, label)
        if classifier is not None:
            on_meta(classifier).gradient(x, t, label)

    return run


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations, and the bytes of the tensors that are alive at the same time."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flop = self.now = self.peak = 0
        self._known: Any = WeakIdKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if (count := flop_registry.get(func._overloadpacket)) is not None:
            self.flop += count(*args, **kwargs, out_val=result)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.device.type == "meta":
                self._add(leaf.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        if storage in self._known:
            return
        self._known[storage] = size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self.now -= size
