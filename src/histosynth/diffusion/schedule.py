"""Noise schedules: how much signal and how much noise an image holds at time t.

Every process here has the form x_t = α(t) x_0 + σ(t) ε with ε ~ N(0, I), time 0 being the data (α = 1, σ = 0). A
schedule is that pair of functions and the times that a sampler visits; samplers need nothing else of it.

- variance preserving, discrete time t = 0 … T: α = √ᾱ_t, σ = √(1 - ᾱ_t), ᾱ_t = Π (1 - β_i)
  linear β: Ho et al. 2020; cosine ᾱ: Nichol & Dhariwal 2021, eq. 17
- variance exploding, continuous time t = σ: α = 1 (Karras et al. 2022)
"""

import math
from typing import Protocol

import torch
from torch import Tensor


class Schedule(Protocol):
    """α and σ of a process, and the times to visit on the way from noise to data."""

    def alpha(self, t: Tensor) -> Tensor:
        """Signal at times `t`, of the same shape."""
        ...

    def sigma(self, t: Tensor) -> Tensor:
        """Noise at times `t`, of the same shape."""
        ...

    def times(self, steps: int) -> Tensor:
        """`steps + 1` times, falling from pure noise to 0, the data."""
        ...


class VariancePreserving:
    """Discrete schedule given by its ᾱ_1 … ᾱ_T; times are whole numbers held as floats.

    Args:
        alpha_bars: (T,) products of 1 - β, falling, in (0, 1).
    """

    def __init__(self, alpha_bars: Tensor) -> None:
        self.alpha_bars = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bars.double()])
        self.timesteps = len(alpha_bars)

    def alpha(self, t: Tensor) -> Tensor:
        """√ᾱ_t."""
        return self._at(t).sqrt().to(t.dtype)

    def sigma(self, t: Tensor) -> Tensor:
        """√(1 - ᾱ_t)."""
        return (1 - self._at(t)).sqrt().to(t.dtype)

    def times(self, steps: int) -> Tensor:
        """Evenly spaced from T down to 0 ("trailing" spacing: the first step starts at pure noise; Lin et al. 2024)."""
        if not 1 <= steps <= self.timesteps:
            raise ValueError(f"{steps} steps asked of a schedule with {self.timesteps} timesteps")
        return torch.linspace(self.timesteps, 0, steps + 1, dtype=torch.float64).round().float()

    def _at(self, t: Tensor) -> Tensor:
        return self.alpha_bars.to(t.device)[t.long()]


class VarianceExploding:
    """Time is σ itself; times follow Karras et al. 2022, eq. 5: σ^(1/ρ) falls evenly."""

    def __init__(self, *, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> None:
        self.sigma_min, self.sigma_max, self.rho = sigma_min, sigma_max, rho

    def alpha(self, t: Tensor) -> Tensor:
        """1: the signal never fades, the noise drowns it."""
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        """`t` itself."""
        return t

    def times(self, steps: int) -> Tensor:
        """Karras spacing, then 0."""
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        levels = torch.linspace(high, low, steps, dtype=torch.float64) ** self.rho
        return torch.cat([levels, torch.zeros(1, dtype=torch.float64)]).float()


def linear(timesteps: int = 1000) -> VariancePreserving:
    """β rises from 1e-4 to 0.02 at T = 1000, scaled by 1000 / T otherwise (Ho et al. 2020)."""
    scale = 1000 / timesteps
    betas = torch.linspace(1e-4 * scale, min(0.02 * scale, 0.999), timesteps, dtype=torch.float64)
    return VariancePreserving(torch.cumprod(1 - betas, dim=0))


def cosine(timesteps: int = 1000) -> VariancePreserving:
    """ᾱ_t = f(t) / f(0), f(t) = cos²((t/T + 0.008) / 1.008 · π/2), β at most 0.999 (Nichol & Dhariwal 2021)."""
    t = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
    f = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
    betas = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    return VariancePreserving(torch.cumprod(1 - betas, dim=0))
