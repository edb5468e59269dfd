"""Schedules against closed forms."""

import math

import pytest
import torch

from histosynth.diffusion.schedule import VarianceExploding, VariancePreserving, cosine, linear


@pytest.mark.parametrize("schedule", [linear(1000), cosine(1000), linear(50), cosine(7)])
def test_variance_is_preserved_and_signal_falls(schedule: VariancePreserving) -> None:
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
            found = linear(1000).alpha(torch.tensor([float(t)], dtype=torch.float64)) ** 2
            assert found.item() == pytest.approx(product, rel=1e-12)


def test_cosine_follows_its_formula_until_beta_is_capped() -> None:
    def f(t: float) -> float:
        return math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2

    for t in (1, 250, 500, 900):
        found = cosine(1000).alpha(torch.tensor([float(t)], dtype=torch.float64)) ** 2
        assert found.item() == pytest.approx(f(t) / f(0), rel=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 7, 50, 1000])
def test_discrete_times_start_at_noise_end_at_data_and_never_repeat(steps: int) -> None:
    times = linear(1000).times(steps)
    assert len(times) == steps + 1
    assert times[0] == 1000
    assert times[-1] == 0
    assert (times.diff() < 0).all()
    assert (times == times.round()).all()


def test_more_steps_than_timesteps_is_refused() -> None:
    with pytest.raises(ValueError, match="51 steps"):
        linear(50).times(51)


def test_karras_times_are_even_in_the_seventh_root() -> None:
    times = VarianceExploding(sigma_min=0.01, sigma_max=10.0).times(9)
    roots = times[:-1].double() ** (1 / 7)
    torch.testing.assert_close(
        roots.diff(), torch.full((8,), (0.01 ** (1 / 7) - 10 ** (1 / 7)) / 8).double(), atol=1e-6, rtol=0
    )
    assert times[-1] == 0
