"""DDIM: the deterministic path, or with an adjustable amount of noise (Song et al. 2021)."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from histosynth.diffusion.samplers.protocol import Denoise, samplers
from histosynth.diffusion.samplers.time_grid import TimeGrid
from histosynth.diffusion.schedule import Schedule


@dataclass(frozen=True)
class DDIM:
    """The sampler with a given η.

    Attributes:
        eta: 0 is deterministic; 1 equals ddpm with the posterior's variance.
    """

    eta: float = 0.0

    def __call__(
        self, denoise: Denoise, schedule: Schedule, *, noise: Tensor, steps: int, draw: Callable[[], Tensor]
    ) -> Tensor:
        """See `Sampler`."""
        grid = TimeGrid(schedule, steps, like=noise)
        x = grid.sigma[0] * noise
        for i in range(steps):
            x = grid.advance(x, denoise(x, grid.times[i]).clean, i, eta=self.eta)
            if self.eta and i < grid.last:
                x = x + self.eta * grid.posterior_variance(i) ** 0.5 * draw()
        return x


ddim = samplers.register("ddim")(DDIM())
