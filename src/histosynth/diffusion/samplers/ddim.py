"""DDIM: the deterministic path, or as much noise as one likes (Song et al. 2021)."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from histosynth.diffusion.samplers.protocol import Denoise, samplers
from histosynth.diffusion.samplers.steps import Steps
from histosynth.diffusion.schedule import Schedule


@dataclass(frozen=True)
class DDIM:
    """The sampler for one η.

    Attributes:
        eta: 0 is deterministic; 1 is ddpm with the posterior's variance.
    """

    eta: float = 0.0

    def __call__(
        self, denoise: Denoise, schedule: Schedule, *, noise: Tensor, steps: int, draw: Callable[[], Tensor]
    ) -> Tensor:
        """See `Sampler`."""
        way = Steps(schedule, steps, like=noise)
        x = way.sigma[0] * noise
        for i in range(steps):
            x = way.move(x, denoise(x, way.times[i]).clean, i, eta=self.eta)
            if self.eta and i < way.last:
                x = x + self.eta * way.posterior_variance(i) ** 0.5 * draw()
        return x


ddim = samplers.register("ddim")(DDIM())
