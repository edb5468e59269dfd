"""The time grid from noise to data and the step along it, shared by the samplers.

A step from t to s < t that adds η² of the posterior's variance v (Song et al. 2021, eq. 12 and 16, for any α, σ):

  x_s = α_s x̂_0 + √(σ_s² - η² v) ε̂ + η √v z,   v = σ_s² (1 - e^-2h),   e^-h = α_t σ_s / (α_s σ_t)

η = 0 follows the probability flow, η = 1 draws from the posterior q(x_s | x_t, x̂_0). v is the smallest variance of a
step of the reverse process, exact for data known exactly. The largest, exact for data ~ N(0, I), is that of the forward
step,

  w = σ_t² (1 - e^-2h) · (α_s² + σ_s²) / (α_t² + σ_t²),

which equals β of Ho et al. 2020, section 3.2, if α² + σ² = 1, and is valid for any other process.
"""

import math

from torch import Tensor

from histosynth.diffusion.schedule import Schedule


class TimeGrid:
    """The times that a sampler visits, with α and σ in double precision.

    All of them are on the CPU: reading a time from a GPU would wait for it in each step.

    Args:
        schedule: the process.
        count: number of steps.
        like: images whose type `times` are to have.
    """

    def __init__(self, schedule: Schedule, count: int, *, like: Tensor) -> None:
        times = schedule.times(count)
        self.times = times.to(like.dtype)
        self.alpha: list[float] = schedule.alpha(times.double()).tolist()
        self.sigma: list[float] = schedule.sigma(times.double()).tolist()
        self.last = count - 1

    def log_step(self, i: int) -> float:
        """Return h of step i; infinite if the step starts at pure noise or ends at the data."""
        decay = self._decay(i)
        return -math.log(decay) if decay else math.inf

    def advance(self, x: Tensor, clean: Tensor, i: int, *, eta: float = 0.0) -> Tensor:
        """Take step i without its added noise: from x_t to the mean of x_s."""
        noise = self.sigma[i + 1] * math.sqrt(1 - eta**2 * (1 - self._decay(i) ** 2)) / self.sigma[i]
        return noise * x + (self.alpha[i + 1] - noise * self.alpha[i]) * clean

    def posterior_variance(self, i: int) -> float:
        """Return v of step i; 0 for the last step."""
        return self.sigma[i + 1] ** 2 * (1 - self._decay(i) ** 2)

    def forward_variance(self, i: int) -> float:
        """Return w of step i."""
        total = [self.alpha[j] ** 2 + self.sigma[j] ** 2 for j in (i, i + 1)]
        return self.sigma[i] ** 2 * (1 - self._decay(i) ** 2) * total[1] / total[0]

    def _decay(self, i: int) -> float:
        """Return e^-h of step i."""
        return self.alpha[i] * self.sigma[i + 1] / (self.alpha[i + 1] * self.sigma[i])
