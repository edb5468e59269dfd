"""One seed an image: all noise that an image ever sees comes from a generator of its own.

So neither the batch it is made in nor the number of processes changes it. Noise is drawn on the CPU, where a seed gives
the same numbers for every device.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class SeededNoise:
    """Draws standard normal noise for a batch of images.

    Args:
        seeds: one seed an image.
        image_px: side of the images.
        device: where the noise is wanted.
    """

    def __init__(self, seeds: Sequence[int], *, image_px: int, device: torch.device) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.shape = (3, image_px, image_px)
        self.device = device

    def draw(self) -> Tensor:
        """The next noise, (B, 3, S, S) float32."""
        return torch.stack([torch.randn(self.shape, generator=g) for g in self.generators]).to(self.device)
