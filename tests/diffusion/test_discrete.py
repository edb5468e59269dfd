"""Discrete denoisers: inputs of the network, training times, and the loss."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from histosynth.diffusion.discrete import DiscreteDenoiser
from histosynth.diffusion.schedule import cosine, linear, zero_terminal_snr
from histosynth.diffusion.weighting import p2

MakeNetwork = Callable[[Tensor], Any]


@pytest.mark.parametrize("prediction_type", ["epsilon", "x0", "v"])
def test_exact_prediction_recovers_the_image_and_the_network_counts_timesteps_from_0(
    constant_network: MakeNetwork, prediction_type: Any
) -> None:
    schedule = cosine(1000)
    x0, noise = torch.rand(4, 3, 4, 4).double() * 2 - 1, torch.randn(4, 3, 4, 4).double()
    t = torch.tensor([1.0, 2.0, 400.0, 1000.0]).double()
    alpha, sigma = schedule.alpha(t)[:, None, None, None], schedule.sigma(t)[:, None, None, None]
    network = constant_network({"epsilon": noise, "x0": x0, "v": alpha * noise - sigma * x0}[prediction_type])
    denoiser = DiscreteDenoiser(network, schedule, prediction_type=prediction_type)
    torch.testing.assert_close(denoiser(alpha * x0 + sigma * noise, t, torch.zeros(4)), x0, atol=1e-9, rtol=0)
    assert denoiser.loss_at(x0, torch.zeros(4), t=t, noise=noise).weighted.max() < 1e-25
    for _, time, _ in network.calls:  # as in ADM
        torch.testing.assert_close(time, t - 1)


def test_loss_is_the_weighted_square_error_of_the_noise_at_random_times(constant_network: MakeNetwork) -> None:
    schedule, x0 = linear(1000), torch.zeros(4, 3, 2, 2)
    network = constant_network(torch.zeros(4, 3, 2, 2))
    denoiser = DiscreteDenoiser(network, schedule, weighting=partial(p2, gamma=1.0))
    t = denoiser.draw_times(4, generator=torch.Generator().manual_seed(5))
    loss = denoiser.loss_at(x0, torch.zeros(4), t=t, noise=torch.randn(x0.shape)).weighted
    x, time, _ = network.calls[0]
    sigma = schedule.sigma(time + 1)
    noise = x / sigma[:, None, None, None]
    torch.testing.assert_close(loss, sigma**2 * noise.square().mean((1, 2, 3)), rtol=1e-4, atol=1e-6)
    assert len(set(time.tolist())) == 4


def test_timesteps_are_drawn_uniformly(constant_network: MakeNetwork) -> None:
    denoiser = DiscreteDenoiser(constant_network(torch.zeros(1)), linear(5))
    counts = denoiser.draw_times(50_000, generator=torch.Generator().manual_seed(0)).unique(return_counts=True)
    assert counts[0].tolist() == [1, 2, 3, 4, 5]
    assert (counts[1] / 10_000 - 1).abs().max() < 0.04


def test_predicting_the_noise_without_terminal_signal_is_an_error(constant_network: MakeNetwork) -> None:
    with pytest.raises(ValueError, match="ends without signal"):
        DiscreteDenoiser(constant_network(torch.zeros(1)), zero_terminal_snr(linear(1000)))
