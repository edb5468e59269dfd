"""Samplers on Gaussian data, whose optimal denoiser is known: right moments, textbook order of convergence."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from histosynth.diffusion.denoiser import Prediction
from histosynth.diffusion.samplers import Denoise, ddim, ddpm, heun, samplers
from histosynth.diffusion.schedule import Schedule, VarianceExploding, cosine, linear

MEAN, STD = 0.3, 0.4
SCHEDULES = {"linear": linear(1000), "cosine": cosine(1000), "karras": VarianceExploding(sigma_max=80.0)}


def optimal(schedule: Schedule) -> Denoise:
    """E[x_0 | x_t] for x_0 ~ N(MEAN, STD²): the posterior mean of a Gaussian."""

    def denoise(x: Tensor, t: Tensor) -> Prediction:
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        return Prediction(MEAN + STD**2 * alpha * (x - alpha * MEAN) / (alpha**2 * STD**2 + sigma**2))

    return denoise


def exact_path(schedule: Schedule, noise: Tensor) -> Tensor:
    """Where the probability flow takes the noise: it keeps quantiles, x_0 = mean + std · (x_T - α mean) / std_T."""
    t = schedule.times(2)[0].double()
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    return MEAN + STD * (sigma * noise - alpha * MEAN) / (alpha**2 * STD**2 + sigma**2).sqrt()


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("name", ["ddim", "ddpm", "heun"])
def test_the_optimal_denoiser_gives_the_data_s_moments(name: str, schedule: Schedule) -> None:
    generator = torch.Generator().manual_seed(0)

    def draw() -> Tensor:
        return torch.randn(10_000, 1, 1, 1, dtype=torch.float64, generator=generator)

    x = samplers[name](optimal(schedule), schedule, noise=draw(), steps=1000 if name == "ddpm" else 200, draw=draw)
    assert x.mean().item() == pytest.approx(MEAN, abs=0.015)
    assert x.std().item() == pytest.approx(STD, rel=0.02)


@pytest.mark.parametrize(("sampler", "order"), [(ddim, 1), (heun, 2)])
def test_order_of_convergence(sampler: Callable[..., Tensor], order: int) -> None:
    """On a smooth schedule, twice the steps divide the error by 2 ** order."""
    schedule = VarianceExploding()
    noise = torch.randn(64, 1, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def error(steps: int) -> float:
        x = sampler(optimal(schedule), schedule, noise=noise, steps=steps, draw=lambda: noise)
        return (x - exact_path(schedule, noise)).abs().max().item()

    ratio = error(80) / error(160)
    assert 0.9 * 2**order < ratio < 1.1 * 2**order


def test_ddpm_step_is_the_posterior_of_ho_et_al() -> None:
    """One step against mean and variance written with betas (Ho et al. 2020, eq. 7)."""
    schedule, steps = linear(1000), 1000
    bars = schedule.alpha_bars
    x, clean, fresh = torch.tensor(0.7).double(), torch.tensor(0.2).double(), torch.tensor(-1.3).double()
    seen: list[Tensor] = []

    def denoise(x_t: Tensor, t: Tensor) -> Prediction:
        seen.append(x_t)
        return Prediction(clean)

    ddpm(denoise, schedule, noise=(x / schedule.sigma(torch.tensor(1000.0).double())), steps=steps, draw=lambda: fresh)
    t = 1000
    beta = 1 - bars[t] / bars[t - 1]
    mean = bars[t - 1].sqrt() * beta / (1 - bars[t]) * clean + (1 - beta).sqrt() * (1 - bars[t - 1]) / (1 - bars[t]) * x
    variance = (1 - bars[t - 1]) / (1 - bars[t]) * beta
    torch.testing.assert_close(seen[1], mean + variance.sqrt() * fresh, rtol=1e-9, atol=1e-9)


def test_heun_costs_two_evaluations_a_step_but_the_last() -> None:
    calls = 0

    def denoise(x: Tensor, t: Tensor) -> Prediction:
        nonlocal calls
        calls += 1
        return Prediction(x * 0)

    noise = torch.zeros(1, 1, 1, 1)
    heun(denoise, linear(), noise=noise, steps=5, draw=lambda: noise)
    assert calls == 9
