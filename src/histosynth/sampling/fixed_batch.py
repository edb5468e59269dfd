"""Batches of one fixed size, so that an image does not depend on the others in its batch.

Convolutions round differently for different batch sizes (by about 1e-5), which would change the bytes of an image. In
batches padded to one fixed size, an image is the same to the last bit whatever its batch and its position there.
`batch_size` chooses that size.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from histosynth.diffusion.denoiser import Denoiser, Prediction
from histosynth.diffusion.guidance import GuidingClassifier


class FixedBatch(Denoiser):
    """A denoiser that runs in groups of one fixed size, and in one precision.

    Args:
        denoiser: the denoiser, on its device.
        group: images per evaluation.
        dtype: type of the network's matrix products and convolutions; all else stays in float32.
    """

    def __init__(self, denoiser: Denoiser, *, group: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(denoiser.network, denoiser.schedule)
        self.denoiser, self.group, self.dtype = denoiser, group, dtype

    def evaluate(self, x: Tensor, t: Tensor, label: Tensor) -> Prediction:
        """See `Denoiser.evaluate`."""
        with autocast_to(self.dtype, x.device):
            predictions = [self.denoiser.evaluate(*trio) for trio in padded_groups(self.group, x, t, label)]
        clean = torch.cat([prediction.clean for prediction in predictions])[: len(x)]
        variances = [part.variance_fraction for part in predictions if part.variance_fraction is not None]
        return Prediction(clean, torch.cat(variances)[: len(x)] if variances else None)


class FixedBatchGuide:
    """A guiding classifier that runs in groups of one fixed size, and in one precision; see `FixedBatch`.

    In float16 its gradient would underflow without a scale, so there it stays in float32.
    """

    def __init__(self, guide: GuidingClassifier, *, group: int, dtype: torch.dtype = torch.float32) -> None:
        self.guide, self.group = guide, group
        self.dtype = torch.float32 if dtype == torch.float16 else dtype

    def gradient(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """See `GuidingClassifier.gradient`."""
        with autocast_to(self.dtype, x.device):
            gradients = [self.guide.gradient(*trio) for trio in padded_groups(self.group, x, t, label)]
        return torch.cat(gradients)[: len(x)]


def autocast_to(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which networks on the device run in this type."""
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype=dtype)


def padded_groups(size: int, *parts: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield groups of `size` elements of each tensor; the last group is padded with its last element."""

    def split(part: Tensor) -> tuple[Tensor, ...]:
        padded = torch.cat([part, part[-1:].expand(-len(part) % size, *part.shape[1:])])
        return torch.split(padded, size)

    return zip(*map(split, parts), strict=True)
