"""Weights against their formulas; the objective is the same for all prediction types."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from histosynth.diffusion.discrete import DiscreteDenoiser
from histosynth.diffusion.schedule import VariancePreserving, cosine, linear, zero_terminal_snr
from histosynth.diffusion.weighting import Weighting, min_snr, p2, uniform

TIMES = range(1, 1001, 111)  # ten


@pytest.mark.parametrize(("k", "gamma"), [(1.0, 0.5), (1.0, 1.0), (0.5, 1.0)])
def test_p2_equals_its_formula(k: float, gamma: float) -> None:
    bars = linear(1000).alpha_bars
    for t in TIMES:
        bar = float(bars[t])
        snr = torch.tensor(bar / (1 - bar), dtype=torch.float64)
        assert p2(snr, k=k, gamma=gamma).item() == pytest.approx((k + bar / (1 - bar)) ** -gamma)
        if k == 1:
            assert p2(snr, k=k, gamma=gamma).item() == pytest.approx((1 - bar) ** gamma)
            assert p2(snr, "v", gamma=gamma).item() == pytest.approx(bar * (1 - bar) ** gamma)
            assert p2(snr, "x0", gamma=gamma).item() == pytest.approx(bar * (1 - bar) ** (gamma - 1))


def test_min_snr_equals_its_formulas() -> None:
    """Hang et al. 2023: min(SNR, γ) on x_0, min(SNR, γ) / SNR on ε, min(SNR, γ) / (SNR + 1) on v."""
    bars = cosine(1000).alpha_bars
    for t in TIMES:
        value = float(bars[t]) / (1 - float(bars[t]))
        snr = torch.tensor(value, dtype=torch.float64)
        assert min_snr(snr, "x0").item() == pytest.approx(min(value, 5))
        assert min_snr(snr, "epsilon", gamma=2.0).item() == pytest.approx(min(value, 2) / value)
        assert min_snr(snr, "v").item() == pytest.approx(min(value, 5) / (value + 1))


def test_uniform_weight_is_one() -> None:
    for prediction_type in ("epsilon", "x0", "v"):
        assert uniform(torch.tensor([0.0, 0.1, 1e4]), prediction_type).tolist() == [1, 1, 1]


@pytest.mark.parametrize("schedule", [linear(1000), cosine(1000), zero_terminal_snr(linear(1000))])
@pytest.mark.parametrize("weighting", [partial(p2, gamma=0.5), partial(p2, k=0.3, gamma=1.0), p2, min_snr])
def test_weighted_loss_is_equal_for_all_prediction_types(
    constant_network: Callable[[Tensor], Any], weighting: Weighting, schedule: VariancePreserving
) -> None:
    t = torch.tensor([*TIMES, 999, 1000]).double()
    alpha, sigma = schedule.alpha(t)[:, None, None, None], schedule.sigma(t)[:, None, None, None]
    x0, noise = torch.rand(12, 3, 2, 2).double() * 2 - 1, torch.randn(12, 3, 2, 2).double()
    x, clean = alpha * x0 + sigma * noise, x0 + 0.1 * torch.randn(12, 3, 2, 2).double()
    outputs: dict[Any, Tensor] = {"x0": clean, "v": (alpha * x - clean) / sigma}
    if schedule.alpha_bars[-1] > 0:
        outputs["epsilon"] = (x - alpha * clean) / sigma
    losses = []
    for prediction_type, output in outputs.items():
        network = constant_network(output)
        denoiser = DiscreteDenoiser(network, schedule, prediction_type=prediction_type, weighting=weighting)
        torch.testing.assert_close(denoiser(x, t, torch.zeros(12)), clean, rtol=1e-7, atol=1e-9)
        losses.append(denoiser.loss_at(x0, torch.zeros(12), t=t, noise=noise).weighted)
    for other in losses[1:]:
        torch.testing.assert_close(other, losses[0], rtol=1e-6, atol=1e-12)
    assert len({round(value, 9) for value in losses[0].tolist()}) > 6
