"""Denoisers: networks wrapped so that all answer the same question, E[x_0 | x_t].

A denoiser maps a noisy image, its time and a label to the expected clean image, and knows the loss that trains it. What
the network inside predicts (the noise, or a preconditioned residual) is its own business, so samplers and guidance do
not care.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from histosynth.diffusion.schedule import Schedule, VarianceExploding, VariancePreserving
from histosynth.diffusion.weighting import p2


class Network(Protocol):
    """What a denoiser wraps: see `unet.UNet`."""

    null_label: int

    def __call__(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        """(B, 3, S, S), (B,), (B,) -> (B, 3, S, S)."""
        ...


class Prediction(NamedTuple):
    """What a denoiser says of noisy images."""

    clean: Tensor
    """E[x_0 | x_t], (B, 3, S, S) in about [-1, 1]."""
    variance: Tensor | None = None
    """Where log variance of an ancestral step lies between that of the posterior (0) and that of the forward step (1),
    of the shape of `clean`; None means 0, "fixed small" (Nichol & Dhariwal 2021, eq. 15)."""


class Denoiser(nn.Module):
    """The common interface.

    Attributes:
        schedule: α(t), σ(t) of the process it was trained for.
        network: see `Network`.
    """

    schedule: Schedule

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @property
    def null_label(self) -> int:
        """The label that stands for any label."""
        label: int = self.network.null_label  # type: ignore[assignment]
        return label

    def predict(self, x: Tensor, t: Tensor, label: Tensor) -> Prediction:
        """All there is to say of `x` (B, 3, S, S) at times `t` (B,) given `label` (B,)."""
        raise NotImplementedError

    def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """E[x_0 | x_t] alone, (B, 3, S, S)."""
        return self.predict(x, t, label).clean

    def loss(self, x0: Tensor, label: Tensor, *, generator: torch.Generator) -> Tensor:
        """Weighted loss of each image, (B,): `x0` (B, 3, S, S) in [-1, 1]; times and noise come from `generator`."""
        raise NotImplementedError


class EpsilonDenoiser(Denoiser):
    """Predicts the noise of a discrete variance-preserving process: x̂_0 = (x_t - σ ε̂) / α (Ho et al. 2020).

    The network is told the timestep counted from 0, as the ADM networks are.
    """

    schedule: VariancePreserving

    def __init__(self, network: nn.Module, schedule: VariancePreserving, *, k: float = 1.0, gamma: float = 0.0) -> None:
        super().__init__(network)
        self.schedule, self.k, self.gamma = schedule, k, gamma

    def predict(self, x: Tensor, t: Tensor, label: Tensor) -> Prediction:
        """See `Denoiser.predict`."""
        alpha, sigma = spread(self.schedule.alpha(t)), spread(self.schedule.sigma(t))
        return Prediction((x - sigma * self.network(x, t - 1, label)) / alpha)

    def loss(self, x0: Tensor, label: Tensor, *, generator: torch.Generator) -> Tensor:
        """w(SNR_t) · mean (ε̂ - ε)², t uniform on 1 … T."""
        t = torch.randint(1, self.schedule.timesteps + 1, (len(x0),), generator=generator).to(x0)
        noise = torch.randn(x0.shape, generator=generator).to(x0)
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        predicted = self.network(spread(alpha) * x0 + spread(sigma) * noise, t - 1, label)
        return p2((alpha / sigma) ** 2, k=self.k, gamma=self.gamma) * mean_square(predicted - noise)


class EDMDenoiser(Denoiser):
    """Preconditioned so that input and target of the network have unit variance at every σ (Karras et al. 2022).

    D(x; σ) = c_skip x + c_out F(c_in x; c_noise), table 1. The network is told 1000 · c_noise = 250 ln σ: this spreads
    the noise levels over the wavelengths of its time embedding.
    """

    schedule: VarianceExploding

    def __init__(
        self,
        network: nn.Module,
        schedule: VarianceExploding,
        *,
        sigma_data: float = 0.5,
        log_sigma_mean: float = -1.2,
        log_sigma_std: float = 1.2,
    ) -> None:
        super().__init__(network)
        self.schedule = schedule
        self.sigma_data, self.log_sigma_mean, self.log_sigma_std = sigma_data, log_sigma_mean, log_sigma_std

    def predict(self, x: Tensor, t: Tensor, label: Tensor) -> Prediction:
        """See `Denoiser.predict`; `t` is σ."""
        total = t**2 + self.sigma_data**2
        residual = self.network(spread(total.rsqrt()) * x, 250 * t.log(), label)
        skip, out = self.sigma_data**2 / total, t * self.sigma_data * total.rsqrt()
        return Prediction(spread(skip) * x + spread(out) * residual)

    def loss(self, x0: Tensor, label: Tensor, *, generator: torch.Generator) -> Tensor:
        """(σ² + σ_data²) / (σ σ_data)² · mean (D - x_0)², ln σ normal."""
        sigma = (self.log_sigma_mean + self.log_sigma_std * torch.randn(len(x0), generator=generator)).exp().to(x0)
        noise = torch.randn(x0.shape, generator=generator).to(x0)
        weight = (sigma**2 + self.sigma_data**2) / (sigma * self.sigma_data) ** 2
        return weight * mean_square(self(x0 + spread(sigma) * noise, sigma, label) - x0)


def spread(values: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1), to multiply images."""
    return values[:, None, None, None]


def mean_square(x: Tensor) -> Tensor:
    """Mean square of each image, (B,), in float32."""
    return x.float().square().flatten(1).mean(1)
