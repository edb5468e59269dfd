"""Patches that stay in the memory of a GPU as bytes, so that a step sends numbers of patches instead of pixels."""

import numpy as np
import torch
from torch import Tensor

from histosynth.training.data.dataset import PatchDataset
from histosynth.training.data.symmetries import pixel_order

_SHARE = 0.25  # of the free memory; the rest is for the network
_SENT_AT_ONCE = 1024


class ResidentPatches:
    """The patches of a data set in the memory of a device.

    Args:
        data: the patches.
        device: the device.
    """

    def __init__(self, data: PatchDataset, *, device: torch.device) -> None:
        self._side = data.image_px
        self._pixels = torch.empty(len(data), self._side**2, 3, dtype=torch.uint8, device=device)
        for start in range(0, len(data), _SENT_AT_ONCE):
            part = self._pixels[start : start + _SENT_AT_ONCE]
            part.copy_(torch.from_numpy(data.pixels(np.arange(start, start + len(part)))).view(part.shape))
        self._order = pixel_order(self._side).to(device)

    def turned(self, index: Tensor, symmetry: Tensor) -> Tensor:
        """Return the patches of these indices (B,), turned by symmetries (B,): (B, S, S, 3) bytes."""
        return self._pixels[index[:, None], self._order[symmetry]].view(-1, self._side, self._side, 3)


def resident_patches(data: PatchDataset, *, device: torch.device) -> ResidentPatches | None:
    """Move the patches to a GPU; None if they take too much of its memory, or are to be decoded in each step."""
    if device.type != "cuda" or data.pixel_source == "the store":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    if len(data) * 3 * data.image_px**2 > _SHARE * free:
        return None
    return ResidentPatches(data, device=device)
