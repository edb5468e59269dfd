"""A denoiser that always computes the same number of images at a time.

Convolutions round differently for different batch sizes (by about 1e-5), which would show in an image's bytes. Padded
to one fixed size, an image comes out the same to the last bit, whatever the others beside it and wherever it stands.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from histosynth.diffusion.denoiser import Denoiser, Prediction
from histosynth.diffusion.guidance import GuidingClassifier

# Large enough to fill the device with a patch-sized U-Net; constants, as changing one changes images in the last bit.
_GROUP = {"cpu": 8, "cuda": 32, "mps": 8}


class FixedBatch(Denoiser):
    """Wraps a denoiser so that it runs in groups of one fixed size."""

    def __init__(self, denoiser: Denoiser, *, device: torch.device) -> None:
        super().__init__(denoiser.network, denoiser.schedule)
        self.denoiser = denoiser
        self.group = group_size(device)

    def predict(self, x: Tensor, t: Tensor, label: Tensor) -> Prediction:
        """See `Denoiser.predict`."""
        found = [self.denoiser.predict(*trio) for trio in padded_groups(self.group, x, t, label)]
        clean = torch.cat([prediction.clean for prediction in found])[: len(x)]
        variances = [prediction.variance_fraction for prediction in found if prediction.variance_fraction is not None]
        return Prediction(clean, torch.cat(variances)[: len(x)] if variances else None)


class FixedBatchGuide:
    """The same for a classifier that guides."""

    def __init__(self, guide: GuidingClassifier, *, device: torch.device) -> None:
        self.guide = guide
        self.group = group_size(device)

    def gradient(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """See `GuidingClassifier.gradient`."""
        return torch.cat([self.guide.gradient(*trio) for trio in padded_groups(self.group, x, t, label)])[: len(x)]


def group_size(device: torch.device) -> int:
    """The one size of groups on a device."""
    return _GROUP.get(device.type, 8)


def padded_groups(size: int, *parts: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The parts cut alike into groups of `size`, the last one filled up with its last element."""

    def cut(part: Tensor) -> tuple[Tensor, ...]:
        padded = torch.cat([part, part[-1:].expand(-len(part) % size, *part.shape[1:])])
        return torch.split(padded, size)

    return zip(*map(cut, parts), strict=True)
