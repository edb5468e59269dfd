"""Averaged weights: a running mean of the weights during training, which samples far better than the last weights.

θ̄ <- b θ̄ + (1 - b) θ with b = 2^(-n / h), n the images of a step and h the half-life. Early in training, h is a tenth of
the images seen, so that poor early weights are forgotten (Karras et al. 2022, whose ramp is a twentieth).
"""

import torch
from torch import Tensor, nn


class EMA:
    """Averaged copy of the weights of a module.

    Args:
        module: the module in training.
        halflife: half-life of the mean, in images.
    """

    def __init__(self, module: nn.Module, *, halflife: int) -> None:
        self.halflife = halflife
        self.weights = {name: value.detach().clone() for name, value in module.state_dict().items()}

    def load(self, weights: dict[str, Tensor]) -> None:
        """Copy `weights` into the average."""
        for name, weight in self.weights.items():
            weight.copy_(weights[name])

    @torch.no_grad()
    def update(self, module: nn.Module, *, images: int, batch: int) -> None:
        """Include the weights after a step of `batch` images that ended at `images` images seen."""

        halflife = min(self.halflife, max(images / 10, batch))
        torch._foreach_lerp_(
            list(self.weights.values()), list(module.state_dict().values()), 1 - 0.5 ** (batch / halflife)
        )
