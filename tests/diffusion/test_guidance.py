"""Guidance: Bayes' rule in closed form, limits that save evaluations, and clipping."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from histosynth.config import SampleSettings
from histosynth.diffusion.denoiser import Denoiser, Prediction
from histosynth.diffusion.guidance import guided_denoiser
from histosynth.diffusion.noise import SeededNoise
from histosynth.diffusion.pipeline import SamplingPipeline
from histosynth.diffusion.schedule import Schedule, VarianceExploding, linear
from histosynth.diffusion.thresholding import build_clip, dynamic_thresholding, no_clipping
from histosynth.errors import HistosynthError

MEANS = torch.tensor([[0.5, -0.1, 0.2], [-0.4, 0.3, 0.0], [0.0, 0.1, -0.6]], dtype=torch.float64)
STDS = torch.tensor([0.2, 0.35, 0.15], dtype=torch.float64)
SHARES = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)


class Labels(nn.Module):
    null_label = 3


class Mixture(Denoiser):
    """The optimal denoiser for data of three labels, each an isotropic Gaussian; it counts the images it denoises."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__(Labels(), schedule)
        self.evaluated = 0

    def evaluate(self, x: Tensor, t: Tensor, label: Tensor) -> Prediction:
        self.evaluated += len(x)
        alpha, sigma = self.schedule.alpha(t)[:, None], self.schedule.sigma(t)[:, None]
        means = (
            MEANS
            + (STDS**2 * alpha)[..., None]
            * (x[:, None, :, 0, 0] - alpha[..., None] * MEANS)
            / (alpha**2 * STDS**2 + sigma**2)[..., None]
        )
        weights = torch.cat([torch.eye(3).double()[label.clamp(max=2)]])
        unconditional = (label == self.null_label)[:, None]
        weights = torch.where(unconditional, self.posterior(x, t).exp(), weights)
        return Prediction((weights[..., None] * means).sum(1)[:, :, None, None])

    def posterior(self, x: Tensor, t: Tensor) -> Tensor:
        """Compute log p(label | x_t), (B, 3)."""
        alpha, sigma = self.schedule.alpha(t)[:, None], self.schedule.sigma(t)[:, None]
        variance = alpha**2 * STDS**2 + sigma**2
        square = (x[:, None, :, 0, 0] - alpha[..., None] * MEANS).square().sum(-1)
        return torch.log_softmax(SHARES.log() - square / (2 * variance) - 1.5 * variance.log(), dim=1)

    def gradient(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """Compute the gradient of the exact classifier."""
        x = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(self.posterior(x, t).gather(1, label[:, None]).sum(), x)
        return gradient


def noisy(schedule: Schedule, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw noisy images of the mixture at one time, and return them with the time and their labels."""
    generator = torch.Generator().manual_seed(step)
    label = torch.arange(30) % 3
    clean = MEANS[label] + STDS[label, None] * torch.randn(30, 3, generator=generator).double()
    t = schedule.times(40)[step].double()
    x = schedule.alpha(t) * clean + schedule.sigma(t) * torch.randn(30, 3, generator=generator).double()
    return x[:, :, None, None], t, label


@pytest.mark.parametrize("step", [1, 10, 25, 39])
def test_exact_classifier_turns_the_unconditional_denoiser_into_the_conditional_one(
    schedule: Schedule, step: int
) -> None:
    """Bayes' rule: ∇ log p(x_t | y) = ∇ log p(x_t) + ∇ log p(y | x_t)."""
    mixture = Mixture(schedule)
    x, t, label = noisy(schedule, step)
    once = guided_denoiser(mixture, label, guidance=0, clip=no_clipping, classifier=mixture)(x, t).clean
    torch.testing.assert_close(once, mixture(x, t.expand(30), label), atol=1e-7, rtol=1e-7)
    twice = guided_denoiser(mixture, label, guidance=0, clip=no_clipping, classifier=mixture, classifier_scale=2.0)(
        x, t
    ).clean
    null = mixture(x, t.expand(30), torch.full_like(label, 3))
    torch.testing.assert_close(twice - null, 2 * (once - null), atol=1e-7, rtol=1e-7)


def test_classifier_has_no_effect_at_pure_noise(schedule: Schedule) -> None:
    mixture = Mixture(schedule)
    x, t, label = noisy(schedule, 0)
    clean = guided_denoiser(mixture, label, clip=no_clipping, classifier=mixture, classifier_scale=3.0)(x, t).clean
    assert clean.isfinite().all()
    if schedule.alpha(t) == 0:
        assert torch.equal(clean, mixture(x, t.expand(30), label))


def test_guidance_interval_is_open_below_and_closed_above() -> None:
    mixture = Mixture(VarianceExploding())
    x, label = torch.zeros(3, 3, 1, 1).double(), torch.tensor([0, 1, 2])
    denoise = guided_denoiser(mixture, label, guidance=4.0, low=0.5, high=2.0, clip=no_clipping)
    for level, twice in ((0.5, False), (0.500001, True), (2.0, True), (2.000001, False)):
        before, t = mixture.evaluated, torch.tensor(level).double()
        clean = denoise(x, t).clean
        assert mixture.evaluated - before == (6 if twice else 3)
        assert torch.equal(clean, mixture(x, t.expand(3), label)) is not twice


def test_guidance_limits_are_noise_divided_by_signal() -> None:
    """σ/α = 1 corresponds to ᾱ = 1/2, for any definition of time."""
    schedule = linear(1000)
    mixture = Mixture(schedule)
    half = int((schedule.alpha_bars > 0.5).sum())  # the first timestep with more noise than signal
    denoise = guided_denoiser(mixture, torch.tensor([0]), guidance=2.0, low=1.0, clip=no_clipping)
    for t, images in ((half - 1, 1), (half, 2)):
        before = mixture.evaluated
        denoise(torch.zeros(1, 3, 1, 1).double(), torch.tensor(float(t)).double())
        assert mixture.evaluated - before == images


@pytest.mark.parametrize(
    ("options", "guided_steps"),
    [
        ({}, "none"),
        ({"guidance": 3.0}, "all"),
        ({"guidance": 0.0}, "none"),
        ({"guidance": 3.0, "guidance_low": 0.2, "guidance_high": 2.0}, "some"),
        ({"guidance": 3.0, "guidance_high": 2.0, "sampler": "heun"}, "some"),
    ],
)
def test_reported_evaluations_are_those_made(schedule: Schedule, options: dict[str, Any], guided_steps: str) -> None:
    mixture = Mixture(schedule)
    pipeline = SamplingPipeline(SampleSettings(steps=12, **options), schedule)
    pipeline.images(mixture, torch.tensor([0, 1]), noise=SeededNoise([5, 6], image_px=1, device=torch.device("cpu")))
    assert mixture.evaluated == 2 * pipeline.evaluations
    unguided = 23 if options.get("sampler") == "heun" else 12
    assert {"none": unguided, "all": 2 * unguided}.get(guided_steps, pipeline.evaluations) == pipeline.evaluations
    if guided_steps == "some":
        assert unguided < pipeline.evaluations < 2 * unguided


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"guidance_low": 2.0, "guidance_high": 2.0}, r"guidance_low = 2.0 is not below sample.guidance_high = 2.0"),
        ({"guidance_low": 1e6}, r"none of the 20 steps has a noise level"),
        ({"guidance_high": 1e-6}, r"none of the 20 steps has a noise level"),
        ({"steps": 2000}, r"sample.steps: 2000 steps requested, but the schedule has 1000 timesteps"),
        ({"eta": 0.5}, r"sample.eta = 0.5: the sampler dpmpp_2m has no eta"),
        ({"sampler": "dimd"}, r"unknown sampler 'dimd' .did you mean 'ddim'"),
    ],
)
def test_invalid_sample_settings_are_rejected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(HistosynthError, match=message):
        SamplingPipeline(SampleSettings(**options), linear(1000))


def test_dynamic_thresholding_in_closed_form() -> None:
    """Values 0.01, 0.02 … 3.00 with signs: the 90th percentile of their magnitudes is 2.70."""
    values = torch.arange(1, 301).double() / 100 * torch.tensor([1.0, -1.0]).repeat(150)
    shuffled = values[torch.randperm(300, generator=torch.Generator().manual_seed(0))]
    images = torch.stack([shuffled, shuffled / 3, shuffled / 100]).reshape(3, 3, 10, 10)
    clipped = dynamic_thresholding(90)(images)
    torch.testing.assert_close(clipped[0], images[0].clamp(-2.7, 2.7) / 2.7)
    torch.testing.assert_close(clipped[1], images[1])  # 0.9 at that percentile, maximum 1: in range, unchanged
    torch.testing.assert_close(clipped[2], images[2])
    scaled = dynamic_thresholding(100)(images)
    torch.testing.assert_close(scaled[0], images[0] / 3)


def test_dynamic_thresholding_preserves_values_that_clamping_saturates() -> None:
    strong = torch.linspace(-4, 4, 300).reshape(1, 3, 10, 10)
    assert build_clip("clamp", percentile=99.5)(strong).unique().numel() < 80
    kept = build_clip("dynamic", percentile=99.5)(strong)
    assert kept.unique().numel() > 290
    assert kept.abs().max() <= 1
    assert torch.equal(build_clip("none", percentile=99.5)(strong), strong)


def test_guidance_is_unlimited_by_default() -> None:
    pipeline = SamplingPipeline(SampleSettings(), linear(1000))
    assert (pipeline.low, pipeline.high) == (0.0, math.inf)
