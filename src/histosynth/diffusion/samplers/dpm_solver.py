"""DPM-Solver++ 2M: second order at one evaluation per step (Lu et al. 2022, "DPM-Solver++", alg. 2).

The step is that of ddim, which is exact if x̂_0 is constant along it. It uses x̂_0 at the middle of the step in log(α/σ),
extrapolated linearly from the current and the previous evaluation:

  D = x̂_0 + h / (2 h_previous) · (x̂_0 - x̂_0,previous)

The first step has no previous evaluation. In a step that starts at pure noise or ends at the data, h is infinite. In
these cases D = x̂_0. The SDE variant uses D in the step of ddpm instead.
"""

from collections.abc import Callable

from torch import Tensor

from histosynth.diffusion.samplers.protocol import Denoise, samplers
from histosynth.diffusion.samplers.time_grid import TimeGrid
from histosynth.diffusion.schedule import Schedule


@samplers.register("dpmpp_2m")
def dpmpp_2m(denoise: Denoise, schedule: Schedule, *, noise: Tensor, steps: int, draw: Callable[[], Tensor]) -> Tensor:
    """Sample deterministically."""
    return _multistep(denoise, TimeGrid(schedule, steps, like=noise), noise=noise, draw=None)


@samplers.register("dpmpp_2m_sde")
def dpmpp_2m_sde(
    denoise: Denoise, schedule: Schedule, *, noise: Tensor, steps: int, draw: Callable[[], Tensor]
) -> Tensor:
    """Sample with the noise of ddpm."""
    return _multistep(denoise, TimeGrid(schedule, steps, like=noise), noise=noise, draw=draw)


def _multistep(denoise: Denoise, grid: TimeGrid, *, noise: Tensor, draw: Callable[[], Tensor] | None) -> Tensor:
    x, previous = grid.sigma[0] * noise, None
    for i in range(grid.last + 1):
        clean = denoise(x, grid.times[i]).clean
        middle = clean
        if previous is not None and i < grid.last:
            middle = clean + grid.log_step(i) / (2 * grid.log_step(i - 1)) * (clean - previous)
        x = grid.advance(x, middle, i, eta=0.0 if draw is None else 1.0)
        if draw is not None and i < grid.last:
            x = x + grid.posterior_variance(i) ** 0.5 * draw()
        previous = clean
    return x
