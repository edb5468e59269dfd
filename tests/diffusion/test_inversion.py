"""Inversion on Gaussian data, whose probability flow is known: it preserves quantiles."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from histosynth.diffusion.denoiser import Prediction
from histosynth.diffusion.inversion import invert, regenerate, translate
from histosynth.diffusion.samplers import Denoise, heun
from histosynth.diffusion.schedule import RectifiedFlow, Schedule, VarianceExploding, cosine, linear, zero_terminal_snr

SCHEDULES: dict[str, Schedule] = {"linear": linear(1000), "cosine": cosine(1000), "karras": VarianceExploding()}
EVERY: dict[str, Schedule] = {**SCHEDULES, "flow": RectifiedFlow(), "no signal": zero_terminal_snr(cosine(1000))}
to_pure_noise = pytest.mark.parametrize("schedule", EVERY.values(), ids=EVERY)
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)


def optimal(schedule: Schedule, *, mean: float, std: float) -> Denoise:
    """Return E[x_0 | x_t] for x_0 ~ N(mean, std²)."""

    def denoise(x: Tensor, t: Tensor) -> Prediction:
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        return Prediction(mean + std**2 * alpha * (x - alpha * mean) / (alpha**2 * std**2 + sigma**2))

    return denoise


def gaussian(n: int, *, mean: float, std: float, seed: int = 0) -> Tensor:
    noise = torch.randn(n, 1, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return mean + std * noise


def exact_latent(schedule: Schedule, image: Tensor, *, mean: float, std: float) -> Tensor:
    t = schedule.times(2)[0].double()
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    return alpha * mean + (image - mean) / std * (alpha**2 * std**2 + sigma**2).sqrt()


@to_pure_noise
def test_round_trip_error_is_of_second_order_or_better(schedule: Schedule) -> None:
    image = gaussian(200, mean=0.3, std=0.4)
    denoise = optimal(schedule, mean=0.3, std=0.4)

    def error(steps: int) -> float:
        latent = invert(denoise, schedule, image=image, steps=steps)
        return (regenerate(denoise, schedule, latent=latent, steps=steps) - image).abs().max().item()

    coarse, fine = error(40), error(80)
    assert fine < 1e-3
    assert coarse / fine > 0.9 * 2**2


def test_latent_converges_to_the_exact_one_with_second_order() -> None:
    """On the smooth schedule; the noise at the first time of the others decreases more slowly than their steps."""
    schedule, image = VarianceExploding(), gaussian(200, mean=0.3, std=0.4)
    exact = exact_latent(schedule, image, mean=0.3, std=0.4)

    def error(steps: int) -> float:
        latent = invert(optimal(schedule, mean=0.3, std=0.4), schedule, image=image, steps=steps)
        return (latent - exact).abs().max().item()

    assert 0.9 * 2**2 < error(80) / error(160) < 1.1 * 2**2


@to_pure_noise
def test_latents_of_the_data_are_standard_normal(schedule: Schedule) -> None:
    n = 20_000
    image = gaussian(n, mean=0.3, std=0.4)
    sigma = schedule.sigma(schedule.times(2)[0].double())
    noise = invert(optimal(schedule, mean=0.3, std=0.4), schedule, image=image, steps=100) / sigma
    drawn = (image - 0.3) / 0.4  # its moments differ from the exact ones by chance
    assert noise.mean().item() == pytest.approx(drawn.mean().item(), abs=0.01)
    assert noise.std().item() == pytest.approx(drawn.std().item(), rel=0.01)
    assert (noise**3).mean().item() == pytest.approx((drawn**3).mean().item(), abs=0.03)
    assert (noise**4).mean().item() == pytest.approx(3, abs=4 * math.sqrt(96 / n))


def test_latents_of_correlated_pixels_are_white() -> None:
    """N(mean, C) with two pixels of correlation 0.8: the covariance of the noise is the identity."""
    schedule = VarianceExploding()
    covariance = 0.16 * torch.tensor([[1, 0.8], [0.8, 1]], dtype=torch.float64)
    root = torch.linalg.cholesky(covariance)
    white = gaussian(40_000, mean=0, std=1).reshape(-1, 1, 1, 2)

    def denoise(x: Tensor, t: Tensor) -> Prediction:
        gain = covariance @ torch.linalg.inv(covariance + t**2 * torch.eye(2, dtype=torch.float64))
        return Prediction(x @ gain.T)

    noise = invert(denoise, schedule, image=white @ root.T, steps=100).flatten(1) / 80
    torch.testing.assert_close(torch.cov(noise.T), torch.eye(2, dtype=torch.float64), atol=0.03, rtol=0)


@every_schedule
def test_latent_is_the_initial_noise_of_a_sampler(schedule: Schedule) -> None:
    image, denoise = gaussian(50, mean=0.3, std=0.4), optimal(schedule, mean=0.3, std=0.4)
    steps = 500
    latent = invert(denoise, schedule, image=image, steps=steps)
    noise = latent / schedule.sigma(schedule.times(steps)[0].double())
    again = heun(denoise, schedule, noise=noise, steps=steps, draw=lambda: noise)
    torch.testing.assert_close(again, image, atol=5e-3, rtol=0)


@every_schedule
def test_translation_changes_mean_and_deviation_and_preserves_the_quantile(schedule: Schedule) -> None:
    """N(0.3, 0.4²) to N(-0.2, 0.25²). With α > 0 at the end, the noise of the classes differs, hence the result."""
    image = gaussian(100, mean=0.3, std=0.4)
    source, target = (optimal(schedule, mean=m, std=s) for m, s in ((0.3, 0.4), (-0.2, 0.25)))
    translated = translate(source, target, schedule, image=image, steps=250)
    t = schedule.times(2)[0].double()
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    latent = exact_latent(schedule, image, mean=0.3, std=0.4)
    exact = -0.2 + 0.25 * (latent - alpha * -0.2) / (alpha**2 * 0.25**2 + sigma**2).sqrt()
    torch.testing.assert_close(translated, exact, atol=4e-3, rtol=0)
    quantile = -0.2 + 0.25 * (image - 0.3) / 0.4
    torch.testing.assert_close(translated, quantile, atol=0.02, rtol=0)


def test_smaller_depth_changes_the_image_less() -> None:
    """A depth of 0.5 changes the image by the amount known from the exact path up to that time."""
    schedule, image = VarianceExploding(), gaussian(100, mean=0.3, std=0.4)
    source, target = (optimal(schedule, mean=m, std=0.4) for m in (0.3, -0.2))
    run = partial(translate, source, target, schedule, image=image, steps=200)
    sigma = schedule.times(200)[-101].double()
    # the flow preserves (x - mean) / √(std² + σ²): the noisy image is fixed, its quantile in the other class differs
    noisy = 0.3 + (image - 0.3) / 0.4 * (0.16 + sigma**2).sqrt()
    exact = -0.2 + 0.4 * (noisy + 0.2) / (0.16 + sigma**2).sqrt()
    torch.testing.assert_close(run(depth=0.5), exact, atol=1e-3, rtol=0)
    assert (run(depth=0.5) - image).abs().mean() < 0.9 * (run(depth=1.0) - image).abs().mean()


@pytest.mark.parametrize("depth", [0.0, -0.1, 1.1])
def test_depth_out_of_range_is_an_error(depth: float) -> None:
    image = gaussian(1, mean=0, std=1)
    with pytest.raises(ValueError, match="depth is"):
        invert(optimal(linear(), mean=0, std=1), linear(), image=image, steps=4, depth=depth)
