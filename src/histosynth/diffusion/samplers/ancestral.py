"""DDPM: every step draws from the reverse process (Ho et al. 2020), at any spacing.

Its variance lies between the posterior's v and the forward step's w (see `steps`), as the denoiser says: log variance =
share · log w + (1 - share) · log v (Nichol & Dhariwal 2021, eq. 15). With no word from it, v: "fixed small".
"""

from collections.abc import Callable

from torch import Tensor

from histosynth.diffusion.samplers.protocol import Denoise, samplers
from histosynth.diffusion.samplers.time_grid import TimeGrid
from histosynth.diffusion.schedule import Schedule


@samplers.register("ddpm")
def ddpm(denoise: Denoise, schedule: Schedule, *, noise: Tensor, steps: int, draw: Callable[[], Tensor]) -> Tensor:
    """Ancestral sampling."""
    grid = TimeGrid(schedule, steps, like=noise)
    x = grid.sigma[0] * noise
    for i in range(steps):
        clean, share = denoise(x, grid.times[i])
        x = grid.advance(x, clean, i, eta=1.0)
        if i < grid.last:
            low = grid.posterior_variance(i)
            spread = low**0.5 if share is None else low**0.5 * (grid.forward_variance(i) / low) ** (share / 2)
            x = x + spread * draw()
    return x
