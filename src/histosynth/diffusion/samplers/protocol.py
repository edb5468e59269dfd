"""What a sampler is, their names, and what one costs."""

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
"""(B, 3, S, S) noisy images and one time -> the expected clean images, and what is known of their variance."""


class Sampler(Protocol):
    """Turns noise into images. One with a choice of its own is a frozen dataclass whose fields are that choice."""

    def __call__(
        self, denoise: Denoise, schedule: Schedule, *, noise: Tensor, steps: int, draw: Callable[[], Tensor]
    ) -> Tensor:
        """Sample.

        Args:
            denoise: the denoiser with its labels, guidance and clipping settled.
            schedule: the process that the denoiser was trained for.
            noise: (B, 3, S, S) standard normal; the image begins as σ(t_max) times it.
            steps: number of steps.
            draw: gives fresh standard normal noise of the same shape, for samplers that need it.

        Returns:
            (B, 3, S, S), about [-1, 1].
        """
        ...


samplers: Registry[Sampler] = Registry("sampler")


def pick_sampler(name: str, *, eta: float = 0.0) -> Sampler:
    """The sampler of that name, with its η.

    Raises:
        HistosynthError: there is no such sampler, or it has no η and one was given.
    """
    sampler = samplers[name]
    if eta == 0:
        return sampler
    if not is_dataclass(sampler) or isinstance(sampler, type) or not hasattr(sampler, "eta"):
        raise HistosynthError(
            f"sample.eta = {eta}: the sampler {name} has no eta; set it to 0, or take the sampler ddim"
        )
    return replace(sampler, eta=eta)


def count_evaluations(
    sampler: Sampler, schedule: Schedule, *, steps: int, per_call: Callable[[Tensor], int] = lambda t: 1
) -> int:
    """Network evaluations an image: counted along the sampler's way, with no network.

    Args:
        sampler: the sampler.
        schedule: the process.
        steps: number of steps.
        per_call: evaluations that one denoising at a time takes, such as `Guided.cost`.
    """
    count = 0

    def denoise(x: Tensor, t: Tensor) -> Prediction:
        nonlocal count
        count += per_call(t)
        return Prediction(x)

    nothing = torch.zeros(1, 3, 1, 1)
    sampler(denoise, schedule, noise=nothing, steps=steps, draw=lambda: nothing)
    return count
