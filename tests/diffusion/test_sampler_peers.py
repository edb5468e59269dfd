"""Samplers against the schedulers of diffusers, an independent implementation, with the same noise prediction."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from histosynth.diffusion.denoiser import Prediction
from histosynth.diffusion.samplers import DDIM, Sampler, ddpm, dpmpp_2m, dpmpp_2m_sde
from histosynth.diffusion.schedule import VariancePreserving, linear

diffusers = pytest.importorskip("diffusers", reason="the reference for the samplers: install histosynth[bench]")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers, NumPy 2

SHAPE, STEPS = (2, 3, 4, 4), 20
BETAS = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}


class Trailing(VariancePreserving):
    """The times of the schedulers below, whose steps are all of one length ("trailing" spacing, Lin et al. 2024)."""

    def times(self, steps: int) -> Tensor:
        return torch.linspace(self.timesteps, 0, steps + 1).round()


OURS = Trailing(linear(1000).alpha_bars[1:])


def predicted_noise(x: Tensor, t: float) -> Tensor:
    """Evaluate a smooth, bounded function in place of a network; `t` counts from 0, as in diffusers."""
    return torch.tanh(x * 1.3 + t / 700) + 0.1 * x


def variance_fraction(x: Tensor) -> Tensor:
    """Evaluate a smooth function with values in (0, 1) in place of a learned variance."""
    return torch.sigmoid(3 * x)


def draws(seed: int) -> Callable[[], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(SHAPE, generator=generator, dtype=torch.float64)


def ours(sampler: Sampler, *, variance: Callable[[Tensor], Tensor] | None = None) -> list[Tensor]:
    """Return the inputs of the denoiser and the final image of our sampler."""
    inputs: list[Tensor] = []

    def denoise(x: Tensor, t: Tensor) -> Prediction:
        inputs.append(x)
        clean = (x - OURS.sigma(t) * predicted_noise(x, t.item() - 1)) / OURS.alpha(t)
        return Prediction(clean, variance(x) if variance else None)

    noise = draws(0)()
    end = sampler(denoise, OURS, noise=noise, steps=STEPS, draw=draws(1))
    return [*inputs, end]


def theirs(
    scheduler: Any,
    output: Callable[[Tensor, float], Tensor] = predicted_noise,
    *,
    draw: Callable[[], Tensor] | None = None,
    **options: Any,
) -> list[Tensor]:
    """Return the same for a scheduler, which starts like ours from σ_T times the noise."""
    scheduler.set_timesteps(STEPS)
    x, inputs = draws(0)() * OURS.sigma(torch.tensor(1000.0).double()), []
    for t in scheduler.timesteps:
        inputs.append(x)
        fresh = {"variance_noise": draw()} if draw else {}
        x = scheduler.step(output(x, t.item()), t, x, **fresh, **options).prev_sample
    return [*inputs, x]


def assert_same(one: list[Tensor], other: list[Tensor]) -> None:
    assert len(one) == len(other) >= STEPS
    for x, y in zip(one, other, strict=True):
        torch.testing.assert_close(x, y, atol=1e-5, rtol=1e-5, check_dtype=False)


def test_ddim() -> None:
    scheduler = diffusers.DDIMScheduler(**BETAS, timestep_spacing="trailing", clip_sample=False)
    assert_same(ours(DDIM()), theirs(scheduler))


@pytest.mark.parametrize("eta", [0.4, 1.0])
def test_ddim_with_noise(eta: float) -> None:
    scheduler = diffusers.DDIMScheduler(**BETAS, timestep_spacing="trailing", clip_sample=False)
    assert_same(ours(DDIM(eta)), theirs(scheduler, eta=eta, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("kind", ["fixed_small", "fixed_large", "learned_range"])
def test_ddpm(kind: str) -> None:
    scheduler = diffusers.DDPMScheduler(**BETAS, timestep_spacing="trailing", clip_sample=False, variance_type=kind)
    variance = {"fixed_small": None, "fixed_large": torch.ones_like, "learned_range": variance_fraction}[kind]

    def output(x: Tensor, t: float) -> Tensor:
        noise = predicted_noise(x, t)
        return torch.cat([noise, 2 * variance_fraction(x) - 1], dim=1) if kind == "learned_range" else noise

    expected = theirs(scheduler, output, generator=torch.Generator().manual_seed(1))
    images = ours(ddpm, variance=variance)
    if kind != "fixed_small":  # theirs adds noise to the final image if the last step is longer than one timestep
        expected, images = expected[:-1], images[:-1]
    assert_same(images, expected)


@pytest.mark.parametrize("kind", ["dpmsolver++", "sde-dpmsolver++"])
def test_dpm_solver(kind: str) -> None:
    scheduler = diffusers.DPMSolverMultistepScheduler(
        **BETAS, timestep_spacing="trailing", algorithm_type=kind, solver_order=2, final_sigmas_type="zero"
    )
    sampler = dpmpp_2m if kind == "dpmsolver++" else dpmpp_2m_sde
    assert_same(ours(sampler), theirs(scheduler, draw=draws(1)))
