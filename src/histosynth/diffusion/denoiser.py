"""Denoisers: networks wrapped in a common interface that returns E[x_0 | x_t].

A denoiser maps a noisy image, its time and a label to the expected clean image, and defines the loss that trains it.
What the network itself predicts (`discrete`: noise, image or velocity; `edm`: a preconditioned residual; `flow`: a
velocity) is internal to the denoiser; samplers and guidance do not depend on it.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from histosynth.diffusion.schedule import Schedule


class Network(Protocol):
    """The network that a denoiser wraps, such as `unet.UNet`."""

    null_label: int

    def __call__(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        """Map (B, 3, S, S), (B,), (B,) to (B, 3, S, S), or to (B, 6, S, S) with a learned variance."""
        ...


class Prediction(NamedTuple):
    """The output of a denoiser for noisy images."""

    clean: Tensor
    """E[x_0 | x_t], (B, 3, S, S) in about [-1, 1]."""
    variance_fraction: Tensor | None = None
    """Position of an ancestral step's log variance between that of the posterior (0) and that of the forward step (1),
    same shape as `clean`; None means 0, "fixed small" (Nichol & Dhariwal 2021, eq. 15)."""


class Loss(NamedTuple):
    """The loss of a denoiser per image, (B,) each."""

    weighted: Tensor
    """The training objective: the weighted mean square error plus any further terms of the denoiser."""
    unweighted: Tensor
    """The mean square error before weighting."""


class Denoiser(nn.Module):
    """The common interface. Everything is computed in at least float32; only the network may run in half precision.

    Args:
        network: see `Network`.
        schedule: α(t) and σ(t) of the process.
        image_px: side of the images; None: not checked before the network runs.
    """

    schedule: Schedule

    def __init__(self, network: nn.Module, schedule: Schedule, *, image_px: int | None = None) -> None:
        super().__init__()
        self.network, self.schedule, self.image_px = network, schedule, image_px

    @property
    def null_label(self) -> int:
        """The label index that stands for "any label"."""
        label: int = self.network.null_label  # type: ignore[assignment]
        return label

    def predict(self, x: Tensor, t: Tensor, label: Tensor) -> Prediction:
        """Predict the clean image, and its variance if learned, of `x` (B, 3, S, S) at times `t` (B,) for `label` (B,).

        Raises:
            ValueError: a shape, time or label is invalid.
        """
        self.check(x, t, label)
        return self.evaluate(x, t, label)

    def evaluate(self, x: Tensor, t: Tensor, label: Tensor) -> Prediction:
        """Predict without any check: that of times and labels waits for the device, in each evaluation of a sampler."""
        raise NotImplementedError

    def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """Return E[x_0 | x_t] only, (B, 3, S, S)."""
        return self.predict(x, t, label).clean

    def draw_times(self, count: int, *, generator: torch.Generator) -> Tensor:
        """Draw training times, (count,) on the CPU."""
        raise NotImplementedError

    def loss_at(self, x0: Tensor, label: Tensor, *, t: Tensor, noise: Tensor) -> Loss:
        """Compute the loss of `x0` (B, 3, S, S) in [-1, 1] at times `t` (B,) with `noise` (B, 3, S, S).

        Raises:
            ValueError: a shape, time or label is invalid.
        """
        raise NotImplementedError

    def check(self, x: Tensor, t: Tensor, label: Tensor) -> None:
        """Raise ValueError if a shape, time or label is invalid; values are checked on the CPU only.

        A GPU would have to be waited for in every step. Training and sampling choose both on the CPU, by construction.
        """
        self.check_shapes(x, t, label)
        if t.device.type == "cpu":
            self.check_times(t)
            self.check_labels(label)

    def check_shapes(self, x: Tensor, t: Tensor, label: Tensor) -> None:
        """Raise ValueError if a shape, or the type of the times, is invalid; no value is read."""
        side = self.image_px or "S"
        if x.ndim != 4 or x.shape[1] != 3 or (self.image_px and x.shape[2:] != (self.image_px, self.image_px)):
            raise ValueError(f"images have shape {tuple(x.shape)}, expected (B, 3, {side}, {side})")
        if t.shape != x.shape[:1] or label.shape != x.shape[:1]:
            raise ValueError(
                f"{len(x)} images with times of shape {tuple(t.shape)} and labels of shape {tuple(label.shape)}; pass "
                "one time and one label per image"
            )
        if t.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"times have type {t.dtype}, which rounds them; pass float32 or float64")

    def check_times(self, t: Tensor) -> None:
        """Raise ValueError if a time is out of range."""
        if bool((bad := ~self.schedule.contains(t)).any()):
            raise ValueError(f"time {t[bad][0].item():g} is out of range: {self.schedule.time_range}")

    def check_labels(self, label: Tensor) -> None:
        """Raise ValueError if a label is out of range."""
        if bool((bad := (label < 0) | (label > self.null_label)).any()):
            raise ValueError(
                f"label {label[bad][0].item():g} is out of range: 0 to {self.null_label - 1}, "
                f"or {self.null_label} for any label"
            )


def per_image(values: Tensor) -> Tensor:
    """Reshape (B,) to (B, 1, 1, 1), to multiply images."""
    return values[:, None, None, None]


def at_least_float32(x: Tensor) -> Tensor:
    """Convert to float32 unless the tensor is float64."""
    return x if x.dtype == torch.float64 else x.float()


def mean_square(x: Tensor) -> Tensor:
    """Return the mean square of each image, (B,), in at least float32."""
    return at_least_float32(x).square().flatten(1).mean(1)
