"""Times that serve few steps: even in the fourth root of the angle φ = atan(σ/α), which measures noise in any process.

φ falls from at most π/2 (pure noise) to 0 (the data). Even steps of a discrete schedule end far from the data: 20 of
1000 leave σ/α = 0.17 to the last, and with it all texture. Like the spacing of Karras et al. 2022, eq. 5, this one goes
down to σ/α = 0.002 (or the least that the process has) before the last step to 0; but it needs no largest σ, and spends
less on noise that drowns everything. The exponent is ours: `benchmarks/model/sampler_errors.py` compares it.
"""

from typing import Literal

import torch
from torch import Tensor

from histosynth.diffusion.schedule import Schedule

_ROOT = 4
_FLOOR = 0.002  # Karras et al. 2022, table 1
_FINE = 10_000  # times of a continuous process to choose from


class RespacedSchedule:
    """A schedule that visits other times of the same process."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule, self.time_range = schedule, schedule.time_range

    def contains(self, t: Tensor) -> Tensor:
        """See `Schedule.contains`."""
        return self.schedule.contains(t)

    def alpha(self, t: Tensor) -> Tensor:
        """See `Schedule.alpha`."""
        return self.schedule.alpha(t)

    def sigma(self, t: Tensor) -> Tensor:
        """See `Schedule.sigma`."""
        return self.schedule.sigma(t)

    def times(self, steps: int) -> Tensor:
        """The nearest times that the process has, none twice."""
        self.schedule.times(steps)  # its own limit on steps
        all_times = self.schedule.times(getattr(self.schedule, "timesteps", max(_FINE, steps)))
        t = all_times.double()
        roots = torch.atan2(self.sigma(t), self.alpha(t)) ** (1 / _ROOT)
        lowest = max(roots[-2].item(), _FLOOR ** (1 / _ROOT))
        wanted = torch.linspace(roots[0].item(), lowest, steps, dtype=torch.float64)
        nearest = (roots - wanted[:, None]).abs().argmin(dim=1).tolist()
        last = len(t) - 1
        places = [0]
        for i in range(1, steps):
            places.append(min(max(nearest[i], places[-1] + 1), last - (steps - i)))
        return all_times[[*places, last]]


def respaced(schedule: Schedule, spacing: Literal["angle", "schedule"]) -> Schedule:
    """The schedule with the times that `sample.spacing` names."""
    return RespacedSchedule(schedule) if spacing == "angle" else schedule
