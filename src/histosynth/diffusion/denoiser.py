"""Denoisers: networks wrapped so that all answer the same question, E[x_0 | x_t].

A denoiser maps a noisy image, its time and a label to the expected clean image, and knows the loss that trains it. What
the network inside predicts (`discrete`: noise, image or velocity; `edm`: a preconditioned residual; `flow`: a velocity)
is its own business, so samplers and guidance do not care.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from histosynth.diffusion.schedule import Schedule


class Network(Protocol):
    """What a denoiser wraps: see `unet.UNet`."""

    null_label: int

    def __call__(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        """(B, 3, S, S), (B,), (B,) -> (B, 3, S, S), or (B, 6, S, S) where it learns a variance as well."""
        ...


class Prediction(NamedTuple):
    """What a denoiser says of noisy images."""

    clean: Tensor
    """E[x_0 | x_t], (B, 3, S, S) in about [-1, 1]."""
    variance_fraction: Tensor | None = None
    """Where log variance of an ancestral step lies between that of the posterior (0) and that of the forward step (1),
    of the shape of `clean`; None means 0, "fixed small" (Nichol & Dhariwal 2021, eq. 15)."""


class Loss(NamedTuple):
    """What a denoiser loses on each image, (B,) each."""

    weighted: Tensor
    """What training lowers: the weighted square error, and what else the denoiser adds to it."""
    unweighted: Tensor
    """The mean square error that is weighted."""


class Denoiser(nn.Module):
    """The common interface. All is computed in float32 at least; only the network may run in half precision.

    Args:
        network: see `Network`.
        schedule: α(t), σ(t) of the process it is trained for.
        image_px: side of the images; None lets the network judge.
    """

    schedule: Schedule

    def __init__(self, network: nn.Module, schedule: Schedule, *, image_px: int | None = None) -> None:
        super().__init__()
        self.network, self.schedule, self.image_px = network, schedule, image_px

    @property
    def null_label(self) -> int:
        """The label that stands for any label."""
        label: int = self.network.null_label  # type: ignore[assignment]
        return label

    def predict(self, x: Tensor, t: Tensor, label: Tensor) -> Prediction:
        """All there is to say of `x` (B, 3, S, S) at times `t` (B,) given `label` (B,).

        Raises:
            ValueError: a shape, a time or a label that does not fit.
        """
        raise NotImplementedError

    def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """E[x_0 | x_t] alone, (B, 3, S, S)."""
        return self.predict(x, t, label).clean

    def draw_times(self, count: int, *, generator: torch.Generator) -> Tensor:
        """Times as training draws them, (count,) on the CPU."""
        raise NotImplementedError

    def loss_at(self, x0: Tensor, label: Tensor, *, t: Tensor, noise: Tensor) -> Loss:
        """The loss of `x0` (B, 3, S, S) in [-1, 1] at times `t` (B,) with `noise` (B, 3, S, S).

        Raises:
            ValueError: a shape, a time or a label that does not fit.
        """
        raise NotImplementedError

    def check(self, x: Tensor, t: Tensor, label: Tensor) -> None:
        """Raise ValueError unless images, times and labels are such as the denoiser knows."""
        side = self.image_px or "S"
        if x.ndim != 4 or x.shape[1] != 3 or (self.image_px and x.shape[2:] != (self.image_px, self.image_px)):
            raise ValueError(f"images of shape {tuple(x.shape)}, not (B, 3, {side}, {side})")
        if t.shape != x.shape[:1] or label.shape != x.shape[:1]:
            raise ValueError(
                f"{len(x)} images with times {tuple(t.shape)} and labels {tuple(label.shape)}: one an image"
            )
        if t.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"times in {t.dtype}: give float32 or float64, others round them")
        lost, unknown = ~self.schedule.contains(t), (label < 0) | (label > self.null_label)
        if bool((lost | unknown).any()):  # one wait for the device, not two
            if bool(lost.any()):
                raise ValueError(f"time {t[lost][0].item():g} is out of range: {self.schedule.time_range}")
            raise ValueError(
                f"label {label[unknown][0].item():g} is out of range: 0 to {self.null_label - 1}, "
                f"or {self.null_label} for any"
            )


def per_image(values: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1), to multiply images."""
    return values[:, None, None, None]


def at_least_float32(x: Tensor) -> Tensor:
    """In float32, or float64 where it is that already."""
    return x if x.dtype == torch.float64 else x.float()


def mean_square(x: Tensor) -> Tensor:
    """Mean square of each image, (B,), in float32 at least."""
    return at_least_float32(x).square().flatten(1).mean(1)
