"""Discrete processes against the schedulers of diffusers: schedules, targets, x̂_0, and the step with each variance."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from histosynth.diffusion.discrete import DiscreteDenoiser
from histosynth.diffusion.parameterization import training_target
from histosynth.diffusion.schedule import VariancePreserving, cosine, linear, zero_terminal_snr

diffusers = pytest.importorskip(
    "diffusers", reason="the reference for the discrete processes: install histosynth[bench]"
)

THEIRS = {"linear": "linear", "cosine": "squaredcos_cap_v2"}
OURS = {"linear": linear, "cosine": cosine}
PREDICTIONS = {"epsilon": "epsilon", "x0": "sample", "v": "v_prediction"}
STEPS = [2, 3, 50, 400, 700, 999, 1000]


def scheduler(kind: str = "DDPMScheduler", **options: Any) -> Any:
    return getattr(diffusers, kind)(beta_start=1e-4, beta_end=0.02, clip_sample=False, **options)


def ours(name: str, zero_snr: bool) -> VariancePreserving:
    return zero_terminal_snr(OURS[name](1000)) if zero_snr else OURS[name](1000)


@pytest.mark.parametrize("zero_snr", [False, True])
@pytest.mark.parametrize("name", OURS)
def test_schedules(name: str, zero_snr: bool) -> None:
    theirs = scheduler(beta_schedule=THEIRS[name], rescale_betas_zero_snr=zero_snr)
    bars = ours(name, zero_snr).alpha_bars[1:]
    torch.testing.assert_close(bars, theirs.alphas_cumprod.double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(bars, torch.cumprod(1 - theirs.betas.double(), 0), atol=1e-6, rtol=0)
    if not zero_snr:  # their rescaled betas are differences in float32, not accurate enough for a ratio
        product = torch.cumprod(1 - theirs.betas.double(), 0)
        torch.testing.assert_close(bars / (1 - bars), product / (1 - product), rtol=2e-5, atol=0)
    assert (bars[-1] == 0) == zero_snr


@pytest.mark.parametrize("t", STEPS)
@pytest.mark.parametrize("variance", ["small", "large", "learned"])
@pytest.mark.parametrize(
    ("name", "zero_snr", "prediction_type"),
    [
        *itertools.product(OURS, [False], PREDICTIONS),
        *itertools.product(OURS, [True], ["x0", "v"]),  # there the noise does not determine the image
    ],
)
def test_a_step(
    constant_network: Callable[[Tensor], Any], name: str, zero_snr: bool, prediction_type: Any, variance: Any, t: int
) -> None:
    """Their float32 ᾱ are replaced by ours (equal to 1e-6, see above), so that the formulas agree to 1e-6 as well."""
    schedule = ours(name, zero_snr)
    theirs = scheduler(
        beta_schedule=THEIRS[name],
        prediction_type=PREDICTIONS[prediction_type],
        variance_type={"small": "fixed_small", "large": "fixed_large", "learned": "learned_range"}[variance],
    )
    theirs.alphas_cumprod = schedule.alpha_bars[1:]
    x, prediction = torch.randn(1, 3, 4, 4).double(), torch.randn(1, 3, 4, 4).double()
    raw = torch.rand(1, 3, 4, 4).double() * 2 - 1
    out = torch.cat([prediction, raw], dim=1) if variance == "learned" else prediction
    denoiser = DiscreteDenoiser(constant_network(out), schedule, prediction_type=prediction_type, variance=variance)
    time = torch.tensor([float(t)]).double()
    clean, fraction = denoiser.predict(x, time, torch.zeros(1))
    step = theirs.step(out, t - 1, x, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(clean, step.pred_original_sample, rtol=1e-6, atol=1e-9)
    fresh = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    posterior = denoiser.posterior
    small, large = posterior.log_small(time).item(), posterior.log_large(time).item()
    log_variance = small + (0.0 if fraction is None else fraction) * (large - small)
    mean = posterior.x_coefficient(time).item() * x + posterior.clean_coefficient(time).item() * clean
    previous = mean + (torch.as_tensor(log_variance) / 2).exp() * fresh
    torch.testing.assert_close(previous, step.prev_sample, rtol=1e-6, atol=1e-6 * step.prev_sample.abs().max().item())


@pytest.mark.parametrize("prediction_type", ["epsilon", "v"])
def test_targets_and_ddim(constant_network: Callable[[Tensor], Any], prediction_type: Any) -> None:
    schedule = linear(1000)
    theirs = scheduler("DDIMScheduler", beta_schedule="linear", prediction_type=PREDICTIONS[prediction_type])
    theirs.alphas_cumprod = schedule.alpha_bars[1:]
    theirs.set_timesteps(1000)
    x0, noise = torch.rand(1, 3, 4, 4).double() * 2 - 1, torch.randn(1, 3, 4, 4).double()
    for t in STEPS:
        time = torch.tensor([float(t)]).double()
        alpha, sigma = schedule.alpha(time), schedule.sigma(time)
        x = theirs.add_noise(x0, noise, torch.tensor([t - 1]))
        torch.testing.assert_close(alpha * x0 + sigma * noise, x, rtol=1e-9, atol=1e-9)
        target = training_target(prediction_type, x0=x0, noise=noise, alpha=alpha, sigma=sigma)
        if prediction_type == "v":
            velocity = theirs.get_velocity(x0, noise, torch.tensor([t - 1]))
            torch.testing.assert_close(target, velocity, rtol=1e-9, atol=1e-9)
        clean = DiscreteDenoiser(constant_network(target), schedule, prediction_type=prediction_type)(
            x, time, torch.zeros(1)
        )
        step = theirs.step(target, t - 1, x)
        torch.testing.assert_close(clean, step.pred_original_sample, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(clean, x0, rtol=0, atol=1e-9)
