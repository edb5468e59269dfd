"""Guidance by a worse version of the model: Gaussians in closed form, every sampler, limits, cost."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from histosynth.config import SampleSettings
from histosynth.diffusion.denoiser import Denoiser, Prediction
from histosynth.diffusion.guidance import guided_denoiser
from histosynth.diffusion.noise import SeededNoise
from histosynth.diffusion.pipeline import SamplingPipeline
from histosynth.diffusion.samplers import samplers
from histosynth.diffusion.schedule import Schedule, VarianceExploding
from histosynth.diffusion.thresholding import no_clipping

GOOD, EARLY = 0.2, 0.5


class Labels(nn.Module):
    null_label = 2


class Normal(Denoiser):
    """The optimal denoiser of gray Gaussian pixels about a mean per label; the null label has mean 0."""

    def __init__(self, schedule: Schedule, deviation: float) -> None:
        super().__init__(Labels(), schedule)
        self.deviation, self.images = deviation, 0

    def evaluate(self, x: Tensor, t: Tensor, label: Tensor) -> Prediction:
        self.images += len(x)
        alpha, sigma = self.schedule.alpha(t)[:, None, None, None], self.schedule.sigma(t)[:, None, None, None]
        mean = torch.tensor([0.3, -0.3, 0.0], dtype=x.dtype)[label][:, None, None, None]
        gain = alpha * self.deviation**2 / (alpha**2 * self.deviation**2 + sigma**2)
        return Prediction(mean + gain * (x - alpha * mean))


@pytest.mark.parametrize("guidance", [0.0, 1.0, 3.0])
def test_it_adds_the_difference_of_the_two_under_the_same_label(schedule: Schedule, guidance: float) -> None:
    good, early = Normal(schedule, GOOD), Normal(schedule, EARLY)
    t, label = schedule.times(8)[3].double(), torch.tensor([0, 1])
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    plain = guided_denoiser(good, label, guidance=guidance, clip=no_clipping)(x, t).clean
    asked = torch.full_like(label, 2) if guidance == 0 else label
    difference = good(x, t.expand(2), asked) - early(x, t.expand(2), asked)
    for weight in (1.5, 3.0):
        clean = guided_denoiser(good, label, guidance=guidance, clip=no_clipping, early=early, autoguidance=weight)(
            x, t
        ).clean
        torch.testing.assert_close(clean, plain + (weight - 1) * difference)


def test_a_model_as_good_as_the_early_one_is_left_as_it_is(schedule: Schedule) -> None:
    good, label = Normal(schedule, GOOD), torch.tensor([0, 1])
    x, t = torch.randn(2, 3, 4, 4, dtype=torch.float64), schedule.times(8)[3].double()
    plain = guided_denoiser(good, label, clip=no_clipping)(x, t).clean
    assert torch.equal(guided_denoiser(good, label, clip=no_clipping, early=good, autoguidance=2.0)(x, t).clean, plain)
    early = Normal(schedule, EARLY)
    assert torch.equal(guided_denoiser(good, label, clip=no_clipping, early=early, autoguidance=1.0)(x, t).clean, plain)
    assert early.images == 0


@pytest.mark.parametrize("name", sorted(samplers))
def test_every_sampler_draws_less_of_what_the_early_model_has_too_much_of(schedule: Schedule, name: str) -> None:
    """The early model is too wide, so the guided samples are narrower than those of the good one."""
    good, early, label = Normal(schedule, GOOD), Normal(schedule, EARLY), torch.arange(16) % 2
    spread = {}
    for weight in (1.0, 1.5, 2.0):
        pipeline = SamplingPipeline(SampleSettings(sampler=name, steps=40, autoguidance=weight, clip="none"), schedule)
        noise = SeededNoise(range(16), image_px=16, device=torch.device("cpu"))
        images = pipeline.images(good, label, noise=noise, early=early)
        assert images.mean((1, 2, 3)) == pytest.approx(0.3 - 0.6 * label, abs=0.03)
        spread[weight] = images.std((1, 2, 3)).mean().item()
    assert spread[1.0] == pytest.approx(GOOD, rel=0.08)  # ddpm takes too little noise in few steps
    assert spread[2.0] < 0.97 * spread[1.5] < 0.97**2 * spread[1.0]


@pytest.mark.parametrize(
    ("given", "all_levels"),
    [
        ({}, True),
        ({"guidance": 3.0}, True),
        ({"guidance": 0.0}, True),
        ({"guidance_low": 0.2, "guidance_high": 2.0}, False),
        ({"guidance": 2.0, "guidance_high": 2.0, "sampler": "heun"}, False),
    ],
)
def test_the_cost_stated_is_the_cost_paid(schedule: Schedule, given: dict[str, Any], all_levels: bool) -> None:
    good, early = Normal(schedule, GOOD), Normal(schedule, EARLY)
    pipeline = SamplingPipeline(SampleSettings(steps=12, autoguidance=1.5, **given), schedule)
    noise = SeededNoise([5, 6], image_px=1, device=torch.device("cpu"))
    pipeline.images(good, torch.tensor([0, 1]), noise=noise, early=early)
    assert good.images + early.images == 2 * pipeline.evaluations
    steps = 23 if given.get("sampler") == "heun" else 12
    assert (early.images == 2 * steps) is all_levels


def test_limits_are_those_of_guidance() -> None:
    good, early = Normal(VarianceExploding(), GOOD), Normal(VarianceExploding(), EARLY)
    denoise = guided_denoiser(
        good, torch.tensor([0]), low=0.5, high=2.0, early=early, autoguidance=2.0, clip=no_clipping
    )
    for level, inside in ((0.5, 0), (0.500001, 1), (2.0, 1), (2.000001, 0)):
        before = early.images
        denoise(torch.zeros(1, 3, 1, 1).double(), torch.tensor(level).double())
        assert early.images - before == inside


def test_a_pipeline_does_not_pass_over_the_early_model_in_silence() -> None:
    pipeline = SamplingPipeline(SampleSettings(autoguidance=1.5), VarianceExploding())
    noise = SeededNoise([0], image_px=1, device=torch.device("cpu"))
    with pytest.raises(ValueError, match=r"autoguidance 1\.5 needs an early version"):
        pipeline.images(Normal(VarianceExploding(), GOOD), torch.tensor([0]), noise=noise)
