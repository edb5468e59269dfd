"""DPM-Solver++ 2M: second order at one evaluation a step (Lu et al. 2022, "DPM-Solver++", alg. 2).

A step is one of ddim, exact where x̂_0 does not change along it; so x̂_0 is taken at the middle of the step in log(α/σ),
by the line through this evaluation and the one before:

  D = x̂_0 + h / (2 h_before) · (x̂_0 - x̂_0,before)

The first step has none before it; where a step starts at pure noise or ends at the data, h is infinite and the line
says nothing, so that D = x̂_0 there. The SDE variant puts D into the step of ddpm instead.
"""

from collections.abc import Callable

from torch import Tensor

from histosynth.diffusion.samplers.protocol import Denoise, samplers
from histosynth.diffusion.samplers.time_grid import TimeGrid
from histosynth.diffusion.schedule import Schedule


@samplers.register("dpmpp_2m")
def dpmpp_2m(denoise: Denoise, schedule: Schedule, *, noise: Tensor, steps: int, draw: Callable[[], Tensor]) -> Tensor:
    """Deterministic."""
    return _multistep(denoise, TimeGrid(schedule, steps, like=noise), noise=noise, draw=None)


@samplers.register("dpmpp_2m_sde")
def dpmpp_2m_sde(
    denoise: Denoise, schedule: Schedule, *, noise: Tensor, steps: int, draw: Callable[[], Tensor]
) -> Tensor:
    """With the fresh noise of ddpm."""
    return _multistep(denoise, TimeGrid(schedule, steps, like=noise), noise=noise, draw=draw)


def _multistep(denoise: Denoise, grid: TimeGrid, *, noise: Tensor, draw: Callable[[], Tensor] | None) -> Tensor:
    x, before = grid.sigma[0] * noise, None
    for i in range(grid.last + 1):
        clean = denoise(x, grid.times[i]).clean
        middle = clean
        if before is not None and i < grid.last:
            middle = clean + grid.log_step(i) / (2 * grid.log_step(i - 1)) * (clean - before)
        x = grid.advance(x, middle, i, eta=0.0 if draw is None else 1.0)
        if draw is not None and i < grid.last:
            x = x + grid.posterior_variance(i) ** 0.5 * draw()
        before = clean
    return x
