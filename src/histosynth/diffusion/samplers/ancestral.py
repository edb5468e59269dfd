"""DDPM: each step draws from the reverse process (Ho et al. 2020), at any spacing.

The denoiser determines the variance, which lies between v of the posterior and w of the forward step (see `time_grid`):
log variance = fraction · log w + (1 - fraction) · log v (Nichol & Dhariwal 2021, eq. 15). The default is v, "fixed
small".
"""

from collections.abc import Callable

from torch import Tensor

from histosynth.diffusion.samplers.protocol import Denoise, samplers
from histosynth.diffusion.samplers.time_grid import TimeGrid
from histosynth.diffusion.schedule import Schedule


@samplers.register("ddpm")
def ddpm(denoise: Denoise, schedule: Schedule, *, noise: Tensor, steps: int, draw: Callable[[], Tensor]) -> Tensor:
    """Sample ancestrally."""
    grid = TimeGrid(schedule, steps, like=noise)
    x = grid.sigma[0] * noise
    for i in range(steps):
        clean, fraction = denoise(x, grid.times[i])
        x = grid.advance(x, clean, i, eta=1.0)
        if i < grid.last:
            small = grid.posterior_variance(i)
            std = small**0.5 if fraction is None else small**0.5 * (grid.forward_variance(i) / small) ** (fraction / 2)
            x = x + std * draw()
    return x
