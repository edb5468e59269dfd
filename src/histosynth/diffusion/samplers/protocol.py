"""The sampler protocol, the registry of samplers, and their cost."""

from collections.abc import Callable
from dataclasses import is_dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from histosynth.diffusion.denoiser import Prediction
from histosynth.diffusion.schedule import Schedule
from histosynth.errors import HistosynthError
from histosynth.registry import Registry

Denoise = Callable[[Tensor, Tensor], Prediction]
"""A map from (B, 3, S, S) noisy images and one time to the expected clean images and, if learned, their variance.

The time is a scalar on the CPU, whatever the device of the images."""


class Sampler(Protocol):
    """A function that turns noise into images. A sampler with options is a frozen dataclass with these as fields."""

    def __call__(
        self, denoise: Denoise, schedule: Schedule, *, noise: Tensor, steps: int, draw: Callable[[], Tensor]
    ) -> Tensor:
        """Sample.

        Args:
            denoise: the denoiser with its labels, guidance and clipping.
            schedule: the process that the denoiser was trained for.
            noise: (B, 3, S, S) standard normal; sampling starts from σ(t_max) times it.
            steps: number of steps.
            draw: returns new standard normal noise of the same shape, for samplers that need it.

        Returns:
            (B, 3, S, S), about [-1, 1].
        """
        ...


samplers: Registry[Sampler] = Registry("sampler")


def pick_sampler(name: str, *, eta: float = 0.0) -> Sampler:
    """Return the sampler with the given name and η.

    Raises:
        HistosynthError: no sampler has this name, or η is not 0 for a sampler without η.
    """
    sampler = samplers[name]
    if eta == 0:
        return sampler
    if not is_dataclass(sampler) or isinstance(sampler, type) or not hasattr(sampler, "eta"):
        raise HistosynthError(
            f"sample.eta = {eta}: the sampler {name} has no eta; set it to 0, or use the sampler ddim"
        )
    return replace(sampler, eta=eta)


def count_evaluations(
    sampler: Sampler, schedule: Schedule, *, steps: int, per_call: Callable[[Tensor], int] = lambda t: 1
) -> int:
    """Count network evaluations per image by running the sampler without a network.

    Args:
        sampler: the sampler.
        schedule: the process.
        steps: number of steps.
        per_call: network evaluations of one call of the denoiser at a time, see `guidance.evaluations_per_call`.
    """
    count = 0

    def denoise(x: Tensor, t: Tensor) -> Prediction:
        nonlocal count
        count += per_call(t)
        return Prediction(x)

    zeros = torch.zeros(1, 3, 1, 1)
    sampler(denoise, schedule, noise=zeros, steps=steps, draw=lambda: zeros)
    return count
