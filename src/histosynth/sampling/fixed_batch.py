"""Batches of one fixed size, so that an image does not depend on the others in its batch.

Convolutions round differently for different batch sizes (by about 1e-5), which would change the bytes of an image. In
batches padded to one fixed size, an image is the same to the last bit whatever its batch and its position there.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from histosynth.diffusion.denoiser import Denoiser, Prediction
from histosynth.diffusion.guidance import GuidingClassifier

# Large enough for a patch-sized U-Net to fill the device. Constants, because a change alters images in the last bit.
_GROUP = {"cpu": 8, "cuda": 32, "mps": 8}


class FixedBatch(Denoiser):
    """A denoiser that runs in groups of one fixed size."""

    def __init__(self, denoiser: Denoiser, *, device: torch.device) -> None:
        super().__init__(denoiser.network, denoiser.schedule)
        self.denoiser = denoiser
        self.group = group_size(device)

    def evaluate(self, x: Tensor, t: Tensor, label: Tensor) -> Prediction:
        """See `Denoiser.evaluate`."""
        predictions = [self.denoiser.evaluate(*trio) for trio in padded_groups(self.group, x, t, label)]
        clean = torch.cat([prediction.clean for prediction in predictions])[: len(x)]
        variances = [part.variance_fraction for part in predictions if part.variance_fraction is not None]
        return Prediction(clean, torch.cat(variances)[: len(x)] if variances else None)


class FixedBatchGuide:
    """A guiding classifier that runs in groups of one fixed size."""

    def __init__(self, guide: GuidingClassifier, *, device: torch.device) -> None:
        self.guide = guide
        self.group = group_size(device)

    def gradient(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """See `GuidingClassifier.gradient`."""
        return torch.cat([self.guide.gradient(*trio) for trio in padded_groups(self.group, x, t, label)])[: len(x)]


def group_size(device: torch.device) -> int:
    """Return the group size on a device."""
    return _GROUP.get(device.type, 8)


def padded_groups(size: int, *parts: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield groups of `size` elements of each tensor; the last group is padded with its last element."""

    def split(part: Tensor) -> tuple[Tensor, ...]:
        padded = torch.cat([part, part[-1:].expand(-len(part) % size, *part.shape[1:])])
        return torch.split(padded, size)

    return zip(*map(split, parts), strict=True)
