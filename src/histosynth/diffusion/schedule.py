"""Noise schedules: the amounts of signal and noise in an image at time t.

All processes have the form x_t = α(t) x_0 + σ(t) ε with ε ~ N(0, I); time 0 is the data (α = 1, σ = 0). A schedule
consists of these two functions and the times that a sampler visits; a sampler needs nothing else.

- variance preserving, discrete time t = 0 … T: α = √ᾱ_t, σ = √(1 - ᾱ_t), ᾱ_t = Π (1 - β_i)
  linear β: Ho et al. 2020; cosine ᾱ: Nichol & Dhariwal 2021, eq. 17
  both can be rescaled to end without signal, ᾱ_T = 0 (Lin et al. 2024)
- variance exploding, continuous time t = σ: α = 1 (Karras et al. 2022)
- rectified flow, continuous time t in [0, 1]: α = 1 - t, σ = t (Liu et al. 2022; Lipman et al. 2023)
"""

import math
from typing import Protocol

import torch
from torch import Tensor


class Schedule(Protocol):
    """α and σ of a process, and the times that a sampler visits from noise to data.

    Attributes:
        time_range: the valid times of a denoiser, as text.
    """

    time_range: str

    def contains(self, t: Tensor) -> Tensor:
        """Return a boolean tensor, same shape: which of the times `t` are valid."""
        ...

    def alpha(self, t: Tensor) -> Tensor:
        """Return the signal at times `t`, same shape."""
        ...

    def sigma(self, t: Tensor) -> Tensor:
        """Return the noise at times `t`, same shape."""
        ...

    def times(self, steps: int) -> Tensor:
        """Return `steps + 1` times, decreasing from pure noise to 0, the data."""
        ...


class VariancePreserving:
    """Discrete schedule given by ᾱ_1 … ᾱ_T; times are integers stored as floats.

    Args:
        alpha_bars: (T,) products of 1 - β, decreasing, in [0, 1); only the last may be 0.

    Attributes:
        alpha_bars: (T + 1,) float64, with ᾱ_0 = 1 prepended.
        timesteps: T.
        alpha: √ᾱ_t, a function of t.
        sigma: √(1 - ᾱ_t), a function of t.
    """

    def __init__(self, alpha_bars: Tensor) -> None:
        self.alpha_bars = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bars.double()])
        self.timesteps = len(alpha_bars)
        self.time_range = f"whole numbers from 1 to {self.timesteps}"
        self.alpha, self.sigma = TimestepTable(self.alpha_bars.sqrt()), TimestepTable((1 - self.alpha_bars).sqrt())

    def contains(self, t: Tensor) -> Tensor:
        """Return which times are in 1 … T."""
        return (t >= 1) & (t <= self.timesteps) & (t == t.round())

    def times(self, steps: int) -> Tensor:
        """Space times evenly from T to 1, then 0, as `space_timesteps` of ADM ("linspace" spacing, Lin et al. 2024).

        The first step starts at pure noise, and the last removes the noise of the first timestep only.
        """
        if not 1 <= steps <= self.timesteps:
            raise ValueError(
                f"{steps} steps requested, but the schedule has {self.timesteps} timesteps; use 1 to {self.timesteps}"
            )
        evenly = torch.linspace(self.timesteps - 1, 0, steps, dtype=torch.float64).round() + 1
        return torch.cat([evenly, torch.zeros(1)]).float()


class TimestepTable:
    """Values at timesteps 0 … T, stored in float64, returned with the type and device of the requested times."""

    def __init__(self, values: Tensor) -> None:
        self.values = values
        self._copies: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def __call__(self, t: Tensor) -> Tensor:
        """Return the values at times `t`, same shape."""
        key = t.device, t.dtype
        if key not in self._copies:
            self._copies[key] = self.values.to(t.dtype).to(t.device)  # in this order: not every device has float64
        return self._copies[key][t.long()]


class VarianceExploding:
    """A process with time σ; sampling times follow Karras et al. 2022, eq. 5: σ^(1/ρ) decreases in equal steps."""

    time_range = "numbers above 0"

    def __init__(self, *, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> None:
        self.sigma_min, self.sigma_max, self.rho = sigma_min, sigma_max, rho

    def contains(self, t: Tensor) -> Tensor:
        """Return which times are finite and above 0."""
        return (t > 0) & t.isfinite()

    def alpha(self, t: Tensor) -> Tensor:
        """Return 1: the signal is constant."""
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        """Return `t`."""
        return t

    def times(self, steps: int) -> Tensor:
        """Return times in Karras spacing, then 0."""
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        levels = torch.linspace(high, low, steps, dtype=torch.float64) ** self.rho
        return torch.cat([levels, torch.zeros(1, dtype=torch.float64)]).float()


class RectifiedFlow:
    """A straight path from data to noise at constant speed."""

    time_range = "numbers from 0 to 1"

    def contains(self, t: Tensor) -> Tensor:
        """Return which times are in [0, 1]."""
        return (t >= 0) & (t <= 1)

    def alpha(self, t: Tensor) -> Tensor:
        """Return 1 - t."""
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        """Return `t`."""
        return t

    def times(self, steps: int) -> Tensor:
        """Space times evenly from 1 to 0."""
        if steps < 1:
            raise ValueError(f"{steps} steps requested; use at least 1")
        return torch.linspace(1, 0, steps + 1, dtype=torch.float64).float()


def linear(timesteps: int = 1000) -> VariancePreserving:
    """Build the schedule with linear β, 1e-4 to 0.02 at T = 1000, otherwise scaled by 1000 / T (Ho et al. 2020)."""
    scale = 1000 / timesteps
    betas = torch.linspace(1e-4 * scale, min(0.02 * scale, 0.999), timesteps, dtype=torch.float64)
    return VariancePreserving(torch.cumprod(1 - betas, dim=0))


def cosine(timesteps: int = 1000) -> VariancePreserving:
    """Build ᾱ_t = f(t) / f(0), f(t) = cos²((t/T + 0.008) / 1.008 · π/2), β at most 0.999 (Nichol & Dhariwal 2021)."""
    t = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
    f = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
    betas = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    return VariancePreserving(torch.cumprod(1 - betas, dim=0))


def zero_terminal_snr(schedule: VariancePreserving) -> VariancePreserving:
    """Shift √ᾱ so that it ends at 0, and scale it so that its first value is unchanged (Lin et al. 2024, algorithm 1).

    α(T) is exactly 0 and σ(T) exactly 1. Training at T and sampling then use the same input: noise without any trace of
    the mean color.
    """
    roots = schedule.alpha_bars[1:].sqrt()
    if len(roots) < 2:
        raise ValueError("a schedule of one timestep cannot be rescaled to end without signal; use at least 2")
    return VariancePreserving(((roots - roots[-1]) * (roots[0] / (roots[0] - roots[-1]))) ** 2)
