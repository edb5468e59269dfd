"""Rectified flow on Gaussian data, for which the optimal velocity is known."""

from collections.abc import Callable
from typing import Any

import pytest
import scipy.stats
import torch
from torch import Tensor

from histosynth.diffusion.flow import FlowDenoiser
from histosynth.diffusion.schedule import RectifiedFlow

MEAN, STD = 0.3, 0.4
MakeNetwork = Callable[[Tensor], Any]


def velocity(x: Tensor, t: float) -> Tensor:
    """Compute E[ε - x_0 | x_t]: the mean of ε - x_0 is -MEAN, its covariance with x_t is t - (1 - t) STD²."""
    total = (1 - t) ** 2 * STD**2 + t**2
    return -MEAN + (t - (1 - t) * STD**2) / total * (x - (1 - t) * MEAN)


@pytest.mark.parametrize("time", [0.0, 0.02, 0.5, 0.9, 1.0])
def test_optimal_velocity_gives_the_posterior_mean_and_the_minimal_loss(
    constant_network: MakeNetwork, time: float
) -> None:
    x0 = MEAN + STD * torch.randn(40_000, 3, 1, 1).double()
    noise, t = torch.randn_like(x0), torch.full((40_000,), time, dtype=torch.float64)
    x = (1 - time) * x0 + time * noise
    denoiser = FlowDenoiser(constant_network(velocity(x, time)), RectifiedFlow())
    total = (1 - time) ** 2 * STD**2 + time**2
    expected = MEAN + (1 - time) * STD**2 / total * (x - (1 - time) * MEAN)
    torch.testing.assert_close(denoiser(x, t, torch.zeros(40_000)), expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(denoiser.network.calls[0][1], 1000 * t)
    minimum = 1 + STD**2 - (time - (1 - time) * STD**2) ** 2 / total
    loss = denoiser.loss_at(x0, torch.zeros(40_000), t=t, noise=noise)
    assert loss.weighted.mean().item() == pytest.approx(minimum, rel=0.02)
    assert torch.equal(loss.weighted, loss.unweighted)


def test_times_follow_the_named_distributions(constant_network: MakeNetwork) -> None:
    def draw(times: Any) -> Any:
        denoiser = FlowDenoiser(constant_network(torch.zeros(1)), RectifiedFlow(), times=times)
        return denoiser.draw_times(20_000, generator=torch.Generator().manual_seed(1)).double().numpy()

    assert scipy.stats.kstest(draw("uniform"), "uniform").pvalue > 0.01
    logit = draw("logit_normal")
    assert scipy.stats.kstest(scipy.special.logit(logit), "norm").pvalue > 0.01
    assert scipy.stats.kstest(logit, "uniform").pvalue < 1e-6
