"""Sampling times for few steps: equal steps in the fourth root of the angle φ = atan(σ/α), the noise level.

φ decreases from at most π/2 (pure noise) to 0 (the data), in any process. Equal steps of a discrete schedule are
long where texture forms: with 20 of 1000, one step leads from σ/α = 0.18 to 0.01. Like the spacing of Karras et al.
2022, eq. 5, this spacing reaches σ/α = 0.002 (or the smallest value of the process) before the last step to 0. Unlike
theirs, it needs no largest σ and spends fewer steps on noise that hides everything. The exponent is our choice,
compared in `benchmarks/model/sampler_errors.py`.
"""

from typing import Literal

import torch
from torch import Tensor

from histosynth.diffusion.schedule import Schedule

_ROOT = 4
_FLOOR = 0.002  # Karras et al. 2022, table 1
_FINE = 10_000  # candidate times of a continuous process


class RespacedSchedule:
    """A schedule with other sampling times of the same process."""

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
        """Choose the nearest available times, each at most once."""
        self.schedule.times(steps)  # raises if there are too many steps
        all_times = self.schedule.times(getattr(self.schedule, "timesteps", max(_FINE, steps)))
        t = all_times.double()
        roots = torch.atan2(self.sigma(t), self.alpha(t)) ** (1 / _ROOT)
        lowest = max(roots[-2].item(), _FLOOR ** (1 / _ROOT))
        targets = torch.linspace(roots[0].item(), lowest, steps, dtype=torch.float64)
        nearest = (roots - targets[:, None]).abs().argmin(dim=1).tolist()
        last = len(t) - 1
        indices = [0]
        for i in range(1, steps):
            indices.append(min(max(nearest[i], indices[-1] + 1), last - (steps - i)))
        return all_times[[*indices, last]]


def respaced(schedule: Schedule, spacing: Literal["angle", "schedule"]) -> Schedule:
    """Return the schedule with the sampling times selected by `sample.spacing`."""
    return RespacedSchedule(schedule) if spacing == "angle" else schedule
