"""The steps of one way from noise to data, which the samplers share.

A step from t to s < t that puts in η² of the posterior's variance v (Song et al. 2021, eq. 12 and 16, for any α, σ):

  x_s = α_s x̂_0 + √(σ_s² - η² v) ε̂ + η √v z,   v = σ_s² (1 - e^-2h),   e^-h = α_t σ_s / (α_s σ_t)

η = 0 follows the probability flow, η = 1 draws from the posterior q(x_s | x_t, x̂_0). v is the least variance that a
step of the reverse process can have, of data known exactly; the most, of data ~ N(0, I), is that of the forward step,

  w = σ_t² (1 - e^-2h) · (α_s² + σ_s²) / (α_t² + σ_t²),

which is the β of Ho et al. 2020, section 3.2, where α² + σ² = 1, and holds for any other process.
"""

import math

from torch import Tensor

from histosynth.diffusion.schedule import Schedule


class TimeGrid:
    """The times of a way, and α and σ there, as numbers in double precision.

    Args:
        schedule: the process.
        count: number of steps.
        like: the images, whose type and device `times` take.
    """

    def __init__(self, schedule: Schedule, count: int, *, like: Tensor) -> None:
        times = schedule.times(count)
        self.times = times.to(like)
        self.alpha: list[float] = schedule.alpha(times.double()).tolist()
        self.sigma: list[float] = schedule.sigma(times.double()).tolist()
        self.last = count - 1

    def log_step(self, i: int) -> float:
        """h of step i: infinite where it starts at pure noise or ends at the data."""
        kept = self._kept(i)
        return -math.log(kept) if kept else math.inf

    def advance(self, x: Tensor, clean: Tensor, i: int, *, eta: float = 0.0) -> Tensor:
        """Step i without its fresh noise: from x_t to the mean of x_s."""
        noise = self.sigma[i + 1] * math.sqrt(1 - eta**2 * (1 - self._kept(i) ** 2)) / self.sigma[i]
        return noise * x + (self.alpha[i + 1] - noise * self.alpha[i]) * clean

    def posterior_variance(self, i: int) -> float:
        """v of step i; 0 at the last."""
        return self.sigma[i + 1] ** 2 * (1 - self._kept(i) ** 2)

    def forward_variance(self, i: int) -> float:
        """w of step i."""
        total = [self.alpha[j] ** 2 + self.sigma[j] ** 2 for j in (i, i + 1)]
        return self.sigma[i] ** 2 * (1 - self._kept(i) ** 2) * total[1] / total[0]

    def _kept(self, i: int) -> float:
        """e^-h."""
        return self.alpha[i] * self.sigma[i + 1] / (self.alpha[i + 1] * self.sigma[i])
