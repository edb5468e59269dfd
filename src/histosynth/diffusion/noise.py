"""One seed per image: each image has its own generator, from which all its noise is drawn.

An image therefore depends neither on its batch nor on the number of processes. Noise is drawn on the CPU, so that a
seed gives the same numbers on every device.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class SeededNoise:
    """A source of standard normal noise for a batch of images.

    Args:
        seeds: one seed per image.
        image_px: side of the images.
        device: device of the noise.
    """

    def __init__(self, seeds: Sequence[int], *, image_px: int, device: torch.device) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.shape = (3, image_px, image_px)
        self.device = device

    def draw(self) -> Tensor:
        """Draw the next noise, (B, 3, S, S) float32."""
        return torch.stack([torch.randn(self.shape, generator=g) for g in self.generators]).to(self.device)
