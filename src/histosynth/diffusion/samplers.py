"""Samplers: from noise to an image along the times of a schedule, given a denoiser.

All work on x_t = α x_0 + σ ε for any α, σ. With x̂_0 the denoised image at time t and s < t the next time:

- ddim: x_s = α_s x̂_0 + σ_s ε̂, ε̂ = (x_t - α_t x̂_0) / σ_t. Deterministic, first order (Song et al. 2021, η = 0).
- ddpm: a draw from q(x_s | x_t, x̂_0), the posterior of Ho et al. 2020, eq. 7, with its variance ("fixed small").
- heun: the same path as ddim, dz/dρ = ε̂ with z = x/α, ρ = σ/α, by Heun's rule (Karras et al. 2022, alg. 1); second
  order, two evaluations a step but the last.
"""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from histosynth.diffusion.denoiser import Prediction
from histosynth.diffusion.schedule import Schedule
from histosynth.registry import Registry

Denoise = Callable[[Tensor, Tensor], Prediction]
"""(B, 3, S, S) noisy images and one time -> the expected clean images, and what is known of their variance."""


class Sampler(Protocol):
    """Turns noise into images."""

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


@samplers.register("ddim")
def ddim(denoise: Denoise, schedule: Schedule, *, noise: Tensor, steps: int, draw: Callable[[], Tensor]) -> Tensor:
    """Deterministic DDIM."""
    times = schedule.times(steps).to(noise)
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    x = sigma[0] * noise
    for i in range(steps):
        clean = denoise(x, times[i]).clean
        x = alpha[i + 1] * clean + sigma[i + 1] / sigma[i] * (x - alpha[i] * clean)
    return x


@samplers.register("ddpm")
def ddpm(denoise: Denoise, schedule: Schedule, *, noise: Tensor, steps: int, draw: Callable[[], Tensor]) -> Tensor:
    """Ancestral DDPM at any spacing."""
    times = schedule.times(steps).to(noise)
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    x = sigma[0] * noise
    for i in range(steps):
        clean = denoise(x, times[i]).clean
        ratio = alpha[i] / alpha[i + 1]
        added = 1 - (ratio * sigma[i + 1] / sigma[i]) ** 2  # share of the noise at t that was added since s
        x = (1 - added) / ratio * x + alpha[i + 1] * added * clean
        if i < steps - 1:
            x = x + sigma[i + 1] * added.sqrt() * draw()
    return x


@samplers.register("heun")
def heun(denoise: Denoise, schedule: Schedule, *, noise: Tensor, steps: int, draw: Callable[[], Tensor]) -> Tensor:
    """Heun's rule on the probability-flow path."""
    times = schedule.times(steps).to(noise)
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    rho = sigma / alpha

    def slope(z: Tensor, i: int) -> Tensor:
        return (z - denoise(alpha[i] * z, times[i]).clean) / rho[i]

    z = rho[0] * noise
    for i in range(steps):
        first = slope(z, i)
        guess = z + (rho[i + 1] - rho[i]) * first
        if i < steps - 1:
            guess = z + (rho[i + 1] - rho[i]) * (first + slope(guess, i + 1)) / 2
        z = guess
    return z
