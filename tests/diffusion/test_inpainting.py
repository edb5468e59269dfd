"""Inpainting of one of two correlated pixels: its conditional mean and standard deviation are known."""

import pytest
import torch
from torch import Tensor

from histosynth.diffusion.denoiser import Prediction
from histosynth.diffusion.inpainting import inpaint
from histosynth.diffusion.schedule import RectifiedFlow, Schedule, VarianceExploding, cosine

STD, CORRELATION, KNOWN = 0.4, 0.8, 0.6
MEAN = torch.tensor([0.1, -0.2], dtype=torch.float64)
COVARIANCE = STD**2 * torch.tensor([[1, CORRELATION], [CORRELATION, 1]], dtype=torch.float64)
SHIFT = CORRELATION * (KNOWN - 0.1)  # 0.4: shift of the mean of the other pixel
CONDITIONAL_STD = STD * (1 - CORRELATION**2) ** 0.5
SCHEDULES: dict[str, Schedule] = {"karras": VarianceExploding(), "cosine": cosine(1000), "flow": RectifiedFlow()}


def inpainted(schedule: Schedule, *, steps: int, repeats: int, n: int = 10_000) -> Tensor:
    """Draw the unknown pixel n times."""
    generator = torch.Generator().manual_seed(0)

    def draw() -> Tensor:
        return torch.randn(n, 1, 1, 2, generator=generator, dtype=torch.float64)

    def denoise(x: Tensor, t: Tensor) -> Prediction:
        time = t.flatten()[0]  # the same for all images: one inverse
        alpha, sigma = schedule.alpha(time), schedule.sigma(time)
        gain = alpha * COVARIANCE @ torch.linalg.inv(alpha**2 * COVARIANCE + sigma**2 * torch.eye(2).double())
        return Prediction(MEAN + (x - alpha * MEAN) @ gain.T)

    image = torch.tensor([KNOWN, 9.0], dtype=torch.float64).expand(n, 1, 1, 2)
    known = torch.tensor([True, False])
    x = inpaint(denoise, schedule, image=image, known=known, steps=steps, draw=draw, repeats=repeats)
    assert torch.equal(x[..., 0], image[..., 0])
    return x[..., 1]


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_unknown_pixel_has_its_conditional_mean_and_standard_deviation(schedule: Schedule) -> None:
    """With 20 repeats of 100 steps, to 5 % of the shift; few ancestral steps make the deviation some 10 % too small."""
    x = inpainted(schedule, steps=100, repeats=20, n=4000)
    assert x.mean().item() == pytest.approx(-0.2 + SHIFT, abs=0.05 * SHIFT)
    assert 0.8 * CONDITIONAL_STD < x.std().item() < 1.05 * CONDITIONAL_STD


def test_more_steps_and_repeats_reduce_the_error() -> None:
    schedule = VarianceExploding()

    def missing(steps: int, repeats: int) -> float:
        return (-0.2 + SHIFT - inpainted(schedule, steps=steps, repeats=repeats, n=4000).mean().item()) / SHIFT

    assert missing(50, 1) > 2 * missing(50, 3) > 4 * missing(50, 20) > 0
    assert inpainted(schedule, steps=200, repeats=10).std().item() == pytest.approx(CONDITIONAL_STD, rel=0.04)


def test_replacement_alone_is_biased_with_any_number_of_steps() -> None:
    """It reaches 0.6 of the shift, with too large a deviation; repeats correct this."""
    x = inpainted(VarianceExploding(), steps=400, repeats=1)
    assert (x.mean().item() + 0.2) / SHIFT == pytest.approx(0.61, abs=0.03)
    assert x.std().item() == pytest.approx(1.16 * CONDITIONAL_STD, rel=0.03)


def test_without_known_pixels_it_draws_from_the_data_distribution() -> None:
    schedule = VarianceExploding()

    def denoise(x: Tensor, t: Tensor) -> Prediction:
        return Prediction(0.3 + STD**2 * (x - 0.3) / (STD**2 + t**2))

    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(10_000, 1, 1, 1, dtype=torch.float64)
    x = inpaint(
        denoise, schedule, image=image, known=torch.tensor(False), steps=300, repeats=1,
        draw=lambda: torch.randn(image.shape, generator=generator, dtype=torch.float64),
    )  # fmt: skip
    assert x.mean().item() == pytest.approx(0.3, abs=0.015)
    assert x.std().item() == pytest.approx(STD, rel=0.03)
