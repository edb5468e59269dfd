"""Schedules against closed forms."""

import math
from collections.abc import Callable

import pytest
import torch

from histosynth.diffusion.schedule import (
    RectifiedFlow,
    VarianceExploding,
    VariancePreserving,
    cosine,
    linear,
    zero_terminal_snr,
)


@pytest.mark.parametrize(
    "schedule", [linear(1000), cosine(1000), linear(50), linear(2), cosine(7), zero_terminal_snr(cosine(9))]
)
def test_variance_is_preserved_and_signal_decreases(schedule: VariancePreserving) -> None:
    t = torch.arange(schedule.timesteps + 1, dtype=torch.float64)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(t))
    assert (alpha.diff() < 0).all()
    assert alpha[0] == 1
    assert sigma[0] == 0


def test_linear_equals_the_product_of_its_betas() -> None:
    product, step = 1.0, (0.02 - 1e-4) / 999
    for t in range(1, 1001):
        product *= 1 - (1e-4 + step * (t - 1))
        if t in (1, 10, 500, 1000):
            alpha_bar = linear(1000).alpha(torch.tensor([float(t)], dtype=torch.float64)) ** 2
            assert alpha_bar.item() == pytest.approx(product, rel=1e-12)


def test_cosine_follows_its_formula_until_beta_is_capped() -> None:
    def f(t: float) -> float:
        return math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2

    for t in (1, 250, 500, 900):
        alpha_bar = cosine(1000).alpha(torch.tensor([float(t)], dtype=torch.float64)) ** 2
        assert alpha_bar.item() == pytest.approx(f(t) / f(0), rel=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 7, 50, 1000])
def test_discrete_times_start_at_noise_end_at_data_and_never_repeat(steps: int) -> None:
    times = linear(1000).times(steps)
    assert len(times) == steps + 1
    assert times[0] == 1000
    assert times[-1] == 0
    assert (times.diff() < 0).all()
    assert (times == times.round()).all()


def test_more_steps_than_timesteps_is_an_error() -> None:
    with pytest.raises(ValueError, match="51 steps"):
        linear(50).times(51)


def test_karras_times_are_evenly_spaced_in_the_seventh_root() -> None:
    times = VarianceExploding(sigma_min=0.01, sigma_max=10.0).times(9)
    roots = times[:-1].double() ** (1 / 7)
    torch.testing.assert_close(
        roots.diff(), torch.full((8,), (0.01 ** (1 / 7) - 10 ** (1 / 7)) / 8).double(), atol=1e-6, rtol=0
    )
    assert times[-1] == 0


@pytest.mark.parametrize("timesteps", [2, 7, 50, 1000, 4000])
@pytest.mark.parametrize("make", [linear, cosine])
def test_zero_terminal_snr_is_exact_and_preserves_the_first_value(
    make: Callable[[int], VariancePreserving], timesteps: int
) -> None:
    original, rescaled = make(timesteps), zero_terminal_snr(make(timesteps))
    for dtype in (torch.float32, torch.float64):
        end = torch.tensor([timesteps], dtype=dtype)
        assert original.alpha(end).item() > 0
        assert (rescaled.alpha(end).item(), rescaled.sigma(end).item()) == (0, 1)
    t = torch.arange(1, timesteps + 1).double()
    assert rescaled.alpha(t[:1]).item() == pytest.approx(original.alpha(t[:1]).item(), rel=1e-12)
    slope = rescaled.alpha(t).diff() / original.alpha(t).diff()  # one affine map of the roots
    torch.testing.assert_close(slope, slope[:1].expand_as(slope), rtol=1e-6, atol=0)


def test_rescaling_one_timestep_is_an_error() -> None:
    with pytest.raises(ValueError, match="one timestep"):
        zero_terminal_snr(linear(1))


def test_rectified_flow_is_a_straight_path() -> None:
    flow = RectifiedFlow()
    times = flow.times(8)
    torch.testing.assert_close(times, torch.tensor([1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8, 0]))
    assert torch.equal(flow.alpha(times) + flow.sigma(times), torch.ones(9))
    assert (flow.alpha(times[:1]).item(), flow.sigma(times[-1:]).item()) == (0, 0)
    with pytest.raises(ValueError, match="0 steps"):
        flow.times(0)


def test_table_first_used_in_inference_mode_works_in_training() -> None:
    schedule, t = linear(10), torch.tensor([3.0])
    with torch.inference_mode():
        schedule.alpha(t)
    weight = torch.ones(1, requires_grad=True)
    (schedule.alpha(t) * weight).sum().backward()
    assert weight.grad is not None
    assert weight.grad.item() == schedule.alpha(t).item()


@pytest.mark.parametrize("steps", [25, 50, 100, 250, 1000])
def test_discrete_times_are_those_of_adm(steps: int) -> None:
    """`space_timesteps(1000, [steps])` of guided-diffusion: fractional strides from 0 to 999, here from 1 to 1000."""
    stride = 999 / (steps - 1)
    theirs = [round(i * stride) + 1 for i in range(steps)]
    assert linear(1000).times(steps).tolist() == [*reversed(theirs), 0]
