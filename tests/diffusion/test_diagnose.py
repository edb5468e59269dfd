"""Losses and gradients by noise level, on a network with a closed-form gradient."""

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from histosynth.diffusion.denoiser import Denoiser
from histosynth.diffusion.diagnose import STAGES, loss_by_noise_level
from histosynth.diffusion.discrete import DiscreteDenoiser
from histosynth.diffusion.edm import EDMDenoiser
from histosynth.diffusion.flow import FlowDenoiser
from histosynth.diffusion.schedule import RectifiedFlow, VarianceExploding, linear
from histosynth.diffusion.weighting import p2

TIMES = torch.arange(1, 1001).float()


class Multiple(nn.Module):
    """A network that predicts a multiple of its input, independent of time: ε̂ = w x."""

    null_label = 1

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float64))
        self.idle = nn.Parameter(torch.zeros(3))
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        return self.dropout(self.weight * x)


def measure(denoiser: Denoiser, times: Tensor = TIMES, **options: Any) -> Any:
    x0 = torch.tensor([-0.5, 0.5]).double()[:, None, None, None].expand(2, 3, 16, 16)
    generator = torch.Generator().manual_seed(0)
    return loss_by_noise_level(denoiser, x0, torch.tensor([0, 1]), times=times, generator=generator, **options)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_losses_and_gradients_equal_the_closed_form(gamma: float) -> None:
    """E (w x - ε)² = w² (α² / 4 + σ²) - 2 w σ + 1 for pixels ±1/2, and its derivative by w, weighted."""
    schedule, w = linear(1000), 0.3
    bands = measure(DiscreteDenoiser(Multiple(w), schedule, weighting=partial(p2, gamma=gamma)), batch=64)
    alpha, sigma = schedule.alpha(TIMES.double()), schedule.sigma(TIMES.double())
    snr = alpha**2 / sigma**2
    total = alpha**2 / 4 + sigma**2
    unweighted, slope, weight = w**2 * total - 2 * w * sigma + 1, 2 * w * total - 2 * sigma, (1 + snr) ** -gamma
    for i, (low, high) in enumerate(STAGES.values()):
        band = (snr >= low) & (snr < high)
        assert bands.count[i].item() == band.sum().item() > 100
        assert bands.unweighted[i].item() == pytest.approx(unweighted[band].mean().item(), rel=0.01)
        assert bands.weighted[i].item() == pytest.approx((weight * unweighted)[band].mean().item(), rel=0.01)
        assert bands.gradient_norm[i].item() == pytest.approx(
            (weight * slope)[band].sum().abs().item() / 1000, rel=0.02
        )
    assert bands.count.sum() == 1000
    assert bands.gradient_share.sum().item() == pytest.approx(1)


def test_p2_reduces_the_gradient_share_of_the_clean_up() -> None:
    shares = [
        measure(DiscreteDenoiser(Multiple(0.3), linear(1000), weighting=partial(p2, gamma=g))).gradient_share
        for g in (0, 0.5, 1)
    ]
    clean_up = [share[list(STAGES).index("clean-up")].item() for share in shares]
    assert clean_up[0] > 1.2 * clean_up[1] > 1.4 * clean_up[2]


@pytest.mark.parametrize(
    "denoiser",
    [
        DiscreteDenoiser(Multiple(0.3), linear(1000)),
        EDMDenoiser(Multiple(0.3), VarianceExploding()),
        FlowDenoiser(Multiple(0.3), RectifiedFlow()),
    ],
)
def test_result_is_independent_of_the_batch_and_the_denoiser_is_unchanged(denoiser: Denoiser) -> None:
    denoiser.train()
    times = denoiser.draw_times(60, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        bands = measure(denoiser, times, batch=7)
        again = measure(denoiser, times, batch=60)
        finer = measure(denoiser, times, bands=[(0, 1e-3), (1e-3, 1e-2), (1e-2, 1), (1, math.inf)])
    assert bands.count.sum() == 60
    for name in ("count", "unweighted", "weighted", "gradient_norm"):
        torch.testing.assert_close(getattr(bands, name), getattr(again, name), equal_nan=True)
        torch.testing.assert_close(getattr(finer, name)[2:], getattr(bands, name)[1:], equal_nan=True)
    assert denoiser.training
    assert all(p.grad is None for p in denoiser.parameters())


def test_empty_band_has_nan_loss_and_zero_gradient() -> None:
    bands = measure(DiscreteDenoiser(Multiple(0.3), linear(1000)), torch.tensor([1000.0]))
    assert bands.count.tolist() == [1, 0, 0]
    assert bands.unweighted.isnan().tolist() == [False, True, True]
    assert bands.gradient_norm[1:].tolist() == [0, 0]
    with pytest.raises(ValueError, match="no times"):
        measure(DiscreteDenoiser(Multiple(0.3), linear(1000)), torch.zeros(0))
