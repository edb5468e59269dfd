"""Inpainting on two correlated pixels, one known: the other has a known conditional mean and spread."""

import pytest
import torch
from torch import Tensor

from histosynth.diffusion.denoiser import Prediction
from histosynth.diffusion.inpainting import inpaint
from histosynth.diffusion.schedule import RectifiedFlow, Schedule, VarianceExploding, cosine

STD, CORRELATION, KNOWN = 0.4, 0.8, 0.6
MEAN = torch.tensor([0.1, -0.2], dtype=torch.float64)
COVARIANCE = STD**2 * torch.tensor([[1, CORRELATION], [CORRELATION, 1]], dtype=torch.float64)
SHIFT = CORRELATION * (KNOWN - 0.1)  # 0.4: by how much the known pixel moves the mean of the other
SPREAD = STD * (1 - CORRELATION**2) ** 0.5
SCHEDULES: dict[str, Schedule] = {"karras": VarianceExploding(), "cosine": cosine(1000), "flow": RectifiedFlow()}


def filled(schedule: Schedule, *, steps: int, repeats: int, n: int = 10_000) -> Tensor:
    """The unknown pixel, drawn n times."""
    generator = torch.Generator().manual_seed(0)

    def draw() -> Tensor:
        return torch.randn(n, 1, 1, 2, generator=generator, dtype=torch.float64)

    def denoise(x: Tensor, t: Tensor) -> Prediction:
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        gain = alpha * COVARIANCE @ torch.linalg.inv(alpha**2 * COVARIANCE + sigma**2 * torch.eye(2).double())
        return Prediction(MEAN + (x - alpha * MEAN) @ gain.T)

    image = torch.tensor([KNOWN, 9.0], dtype=torch.float64).expand(n, 1, 1, 2)
    known = torch.tensor([True, False])
    x = inpaint(denoise, schedule, image=image, known=known, steps=steps, draw=draw, repeats=repeats)
    assert torch.equal(x[..., 0], image[..., 0])
    return x[..., 1]


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_the_unknown_pixel_has_its_conditional_mean_and_spread(schedule: Schedule) -> None:
    """With 20 repeats of 100 steps to 5 % of the shift; few ancestral steps make the spread a tenth or so too small."""
    x = filled(schedule, steps=100, repeats=20)
    assert x.mean().item() == pytest.approx(-0.2 + SHIFT, abs=0.05 * SHIFT)
    assert 0.8 * SPREAD < x.std().item() < 1.05 * SPREAD


def test_steps_and_repeats_bring_it_nearer() -> None:
    schedule = VarianceExploding()

    def missing(steps: int, repeats: int) -> float:
        return (-0.2 + SHIFT - filled(schedule, steps=steps, repeats=repeats, n=4000).mean().item()) / SHIFT

    assert missing(50, 1) > 2 * missing(50, 3) > 4 * missing(50, 20) > 0
    assert filled(schedule, steps=200, repeats=10).std().item() == pytest.approx(SPREAD, rel=0.04)


def test_replacement_alone_is_off_however_many_the_steps() -> None:
    """It goes 0.6 of the shift and spreads too far: why there are repeats."""
    x = filled(VarianceExploding(), steps=400, repeats=1)
    assert (x.mean().item() + 0.2) / SHIFT == pytest.approx(0.61, abs=0.03)
    assert x.std().item() == pytest.approx(1.16 * SPREAD, rel=0.03)


def test_where_nothing_is_known_it_is_a_draw_from_the_data() -> None:
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
