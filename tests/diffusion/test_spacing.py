"""Sampling times for few steps: valid times of the process, correct first and last times, better fine detail."""

from typing import Any

import pytest
import torch
from torch import Tensor

from histosynth.diffusion.samplers import dpmpp_2m
from histosynth.diffusion.schedule import Schedule, VarianceExploding, linear
from histosynth.diffusion.spacing import RespacedSchedule, respaced


@pytest.mark.parametrize("steps", [1, 2, 20, 250, 1000])
def test_times_decrease_from_noise_to_data_without_repetition(schedule: Schedule, steps: int) -> None:
    times = RespacedSchedule(schedule).times(steps)
    assert len(times) == steps + 1
    assert times[0] == schedule.times(1)[0]
    assert times[-1] == 0
    assert (times.diff() < 0).all()
    if not isinstance(schedule, VarianceExploding) and hasattr(schedule, "timesteps"):
        assert (times == times.round()).all()


def test_as_many_steps_as_timesteps_visit_all_timesteps() -> None:
    assert torch.equal(RespacedSchedule(linear(50)).times(50), linear(50).times(50))
    with pytest.raises(ValueError, match="51 steps"):
        RespacedSchedule(linear(50)).times(51)


def test_continuous_times_are_evenly_spaced_in_the_fourth_root_of_the_angle() -> None:
    times = RespacedSchedule(VarianceExploding()).times(12).double()[:-1]
    roots = times.atan() ** 0.25
    torch.testing.assert_close(roots.diff(), roots.diff().mean().expand(11), atol=5e-4, rtol=0)
    assert times[-1].item() == pytest.approx(0.002)


def test_spacing_schedule_returns_the_schedule_itself() -> None:
    schedule = linear(1000)
    assert respaced(schedule, "schedule") is schedule


def test_few_steps_preserve_fine_detail(schedule: Schedule, gaussian: Any) -> None:
    """20 evenly spaced steps lose the smallest component (standard deviation 0.05); these times preserve it."""
    noise = torch.cat([torch.zeros(1, 3), torch.eye(3)]).double()[:, :, None, None]

    def smallest(times: Schedule) -> float:
        x: Tensor = dpmpp_2m(gaussian.optimal(schedule), times, noise=noise, steps=20, draw=lambda: noise)[:, :, 0, 0]
        root = (x[1:] - x[0]).T
        return torch.linalg.eigvalsh(root @ root.T)[0].sqrt().item()

    assert smallest(RespacedSchedule(schedule)) == pytest.approx(0.05, rel=0.04)
    if not isinstance(schedule, VarianceExploding):
        assert smallest(schedule) < 0.95 * 0.05
