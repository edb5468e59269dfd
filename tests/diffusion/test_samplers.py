"""Samplers on Gaussian data, for which the optimal denoiser is known: moments and order of convergence."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import torch
from torch import Tensor

from histosynth.diffusion.denoiser import Prediction
from histosynth.diffusion.samplers import (
    DDIM,
    count_evaluations,
    ddim,
    ddpm,
    dpmpp_2m,
    dpmpp_2m_sde,
    heun,
    pick_sampler,
)
from histosynth.diffusion.samplers.time_grid import TimeGrid
from histosynth.diffusion.schedule import RectifiedFlow, Schedule, VarianceExploding, linear
from histosynth.diffusion.spacing import RespacedSchedule
from histosynth.errors import HistosynthError

Gaussian = Any  # class of conftest, which cannot be imported


def never() -> Tensor:
    raise AssertionError("a deterministic sampler drew noise")


def normal(n: int, *, seed: int = 0) -> Callable[[], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(n, 3, 1, 1, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize(("sampler", "steps"), [(ddim, 800), (heun, 60), (dpmpp_2m, 100)])
def test_deterministic_samplers_map_noise_to_the_data(
    sampler: Any, steps: int, schedule: Schedule, gaussian: Gaussian
) -> None:
    """The optimal denoiser is affine, hence the sampler is too: noise 0 gives the mean, the axes give a root of C."""
    noise = torch.cat([torch.zeros(1, 3), torch.eye(3)]).double()[:, :, None, None]
    respaced = RespacedSchedule(schedule)
    x = sampler(gaussian.optimal(schedule), respaced, noise=noise, steps=steps, draw=never)[:, :, 0, 0]
    root = (x[1:] - x[0]).T
    end = schedule.alpha(schedule.times(1)[0].double())  # sampling starts with mean 0 instead of α_T m
    torch.testing.assert_close(x[0], gaussian.mean, atol=2e-3 + end.item() * 0.01 * (end < 1), rtol=0)
    torch.testing.assert_close(root @ root.T, gaussian.covariance, atol=3e-3, rtol=0)
    smallest = torch.linalg.eigvalsh(root @ root.T)[0].sqrt().item()
    assert smallest == pytest.approx(0.05, rel=0.05)


@pytest.mark.parametrize(
    ("sampler", "steps"),
    [(ddpm, 1000), (DDIM(0.5), 500), (DDIM(1.0), 1000), (dpmpp_2m_sde, 60)],
    ids=["ddpm", "eta-0.5", "eta-1", "dpmpp_2m_sde"],
)
def test_stochastic_samplers_reproduce_the_moments_of_the_data(
    sampler: Any, steps: int, schedule: Schedule, gaussian: Gaussian
) -> None:
    draw = normal(20_000)
    respaced = RespacedSchedule(schedule)
    x = sampler(gaussian.optimal(schedule), respaced, noise=draw(), steps=steps, draw=draw)[:, :, 0, 0]
    torch.testing.assert_close(x.mean(0), gaussian.mean, atol=0.015, rtol=0)
    torch.testing.assert_close(x.T.cov(), gaussian.covariance, atol=0.01, rtol=0)
    assert torch.linalg.eigvalsh(x.T.cov())[0].sqrt().item() == pytest.approx(
        0.05, rel=0.1
    )  # 1000 timesteps end at σ = 0.01


@pytest.mark.parametrize(("sampler", "order"), [(ddim, 1), (heun, 2), (dpmpp_2m, 2)])
@pytest.mark.parametrize("process", ["karras", "flow"])
def test_order_of_convergence(sampler: Any, order: int, process: str, gaussian: Gaussian) -> None:
    """Twice the steps divide the error by 2 ** order, also from pure noise."""
    schedule: Schedule = VarianceExploding() if process == "karras" else Straight()
    noise = normal(64)()

    def error(steps: int) -> float:
        x = sampler(gaussian.optimal(schedule), schedule, noise=noise, steps=steps, draw=never)
        return (x - gaussian.exact_path(schedule, noise)).abs().max().item()

    ratio = error(160) / error(320)
    assert 0.85 * 2**order < ratio < 1.15 * 2**order


class Straight(RectifiedFlow):
    """A flow at times whose steps shrink towards the data."""

    def times(self, steps: int) -> Tensor:
        return torch.linspace(1, 0, steps + 1, dtype=torch.float64) ** 2


def test_ddpm_step_is_the_posterior_of_ho_et_al() -> None:
    """Compare one step with mean and variance written in terms of betas (Ho et al. 2020, eq. 7)."""
    schedule, steps = linear(1000), 1000
    bars = schedule.alpha_bars
    x, clean, fresh = torch.tensor(0.7).double(), torch.tensor(0.2).double(), torch.tensor(-1.3).double()
    inputs: list[Tensor] = []

    def denoise(x_t: Tensor, t: Tensor) -> Prediction:
        inputs.append(x_t)
        return Prediction(clean)

    ddpm(denoise, schedule, noise=(x / schedule.sigma(torch.tensor(1000.0).double())), steps=steps, draw=lambda: fresh)
    t = 1000
    beta = 1 - bars[t] / bars[t - 1]
    mean = bars[t - 1].sqrt() * beta / (1 - bars[t]) * clean + (1 - beta).sqrt() * (1 - bars[t - 1]) / (1 - bars[t]) * x
    variance = (1 - bars[t - 1]) / (1 - bars[t]) * beta
    torch.testing.assert_close(inputs[1], mean + variance.sqrt() * fresh, rtol=1e-9, atol=1e-9)


def test_eta_one_equals_ddpm_exactly(schedule: Schedule, gaussian: Gaussian) -> None:
    images = []
    for sampler in (DDIM(1.0), ddpm):
        draw = normal(5)
        images.append(sampler(gaussian.optimal(schedule), schedule, noise=draw(), steps=7, draw=draw))
    assert torch.equal(*images)


@pytest.mark.parametrize("steps", [2, 9])
def test_small_and_large_variance_are_exact_for_their_data(schedule: Schedule, steps: int) -> None:
    """The posterior's variance is exact for one known image, the forward step's for data ~ N(0, I) (Ho et al. 2020,
    section 3.2): noisy images have the correct distribution at every time, for any number of steps."""
    for data_variance, fraction in ((0.0, None), (1.0, torch.ones(1))):
        marginals: list[tuple[float, float]] = []

        def denoise(
            x: Tensor,
            t: Tensor,
            data_variance: float = data_variance,
            fraction: Tensor | None = fraction,
            marginals: Any = marginals,
        ) -> Prediction:
            alpha, sigma = schedule.alpha(t.double()), schedule.sigma(t.double())
            expected = alpha**2 * data_variance + sigma**2
            marginals.append((x.var().item(), expected.item()))
            return Prediction(data_variance * alpha / expected * x, fraction)

        draw = normal(40_000)
        start = draw() if data_variance == 0 else draw() * _start(schedule)
        ddpm(denoise, schedule, noise=start, steps=steps, draw=draw)
        for variance, expected in marginals:
            assert variance == pytest.approx(expected, rel=0.015)


def _start(schedule: Schedule) -> float:
    """Return the factor for noise so that σ_T times it has the variance of x_T for data ~ N(0, I)."""
    t = schedule.times(1)[0].double()
    return ((schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2).sqrt() / schedule.sigma(t)).item()


def test_learned_variance_interpolates_the_logarithm(schedule: Schedule) -> None:
    noise, ones = torch.zeros(1, 3, 1, 1).double(), torch.ones(1, 3, 1, 1).double()
    grid = TimeGrid(schedule, 4, like=noise)
    for fraction in (0.0, 0.3, 1.0):
        inputs: list[float] = []

        def denoise(x: Tensor, t: Tensor, fraction: float = fraction, inputs: list[float] = inputs) -> Prediction:
            inputs.append(x[0, 0, 0, 0].item())
            return Prediction(torch.zeros_like(x), torch.full_like(x, fraction))

        ddpm(denoise, schedule, noise=noise, steps=4, draw=lambda: ones)
        expected = grid.posterior_variance(0) ** (1 - fraction) * grid.forward_variance(0) ** fraction
        assert inputs[1] ** 2 == pytest.approx(expected, rel=1e-9)


def test_last_step_ends_at_the_predicted_image(schedule: Schedule) -> None:
    for sampler in (ddim, ddpm, heun, dpmpp_2m, dpmpp_2m_sde, DDIM(0.7)):
        outputs = count()

        def denoise(x: Tensor, t: Tensor, outputs: Any = outputs) -> Prediction:
            return Prediction(torch.full_like(x, float(next(outputs))))

        x = sampler(denoise, schedule, noise=normal(2)(), steps=5, draw=normal(2, seed=1))
        torch.testing.assert_close(x, torch.full_like(x, float(next(outputs) - 1)), atol=1e-9, rtol=0)


def test_evaluations_are_counted(schedule: Schedule) -> None:
    names = ("ddpm", "ddim", "dpmpp_2m", "heun")
    evaluations = {name: count_evaluations(pick_sampler(name), schedule, steps=5) for name in names}
    assert evaluations == {"ddpm": 5, "ddim": 5, "dpmpp_2m": 5, "heun": 9}
    assert count_evaluations(pick_sampler("heun"), schedule, steps=1) == 1


def test_only_ddim_has_an_eta() -> None:
    assert pick_sampler("ddim", eta=0.3) == DDIM(0.3)
    assert pick_sampler("ddim") == DDIM(0.0)
    with pytest.raises(HistosynthError, match=r"sample.eta = 0.3: the sampler heun has no eta"):
        pick_sampler("heun", eta=0.3)
    with pytest.raises(HistosynthError, match=r"unknown sampler 'dpmpp2m' .did you mean 'dpmpp_2m'"):
        pick_sampler("dpmpp2m")
