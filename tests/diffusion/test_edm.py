"""EDM's preconditioning fulfills its design goals (Karras et al. 2022, appendix B.6)."""

from collections.abc import Callable
from typing import Any

import pytest
import scipy.stats
import torch
from torch import Tensor

from histosynth.diffusion.edm import EDMDenoiser
from histosynth.diffusion.schedule import VarianceExploding

MakeNetwork = Callable[[Tensor], Any]


def test_input_and_target_have_unit_variance_and_zero_noise_gives_the_identity(constant_network: MakeNetwork) -> None:
    sigma_data = 0.4
    for sigma in (0.01, 0.4, 5.0):
        torch.manual_seed(0)
        network = constant_network(torch.zeros(1))
        denoiser = EDMDenoiser(network, VarianceExploding(), sigma_data=sigma_data)
        x0 = sigma_data * torch.randn(13_334, 3, 1, 1).double()
        x = x0 + sigma * torch.randn(13_334, 3, 1, 1).double()
        t, label = torch.full((13_334,), sigma).double(), torch.zeros(13_334)
        skipped = denoiser(x, t, label)
        network.output = torch.ones(1).double()
        out = denoiser(x, t, label) - skipped
        target = (x0 - skipped) / out
        torch.testing.assert_close(network.calls[0][1], 250 * t.log())
        assert network.calls[0][0].std().item() == pytest.approx(1, abs=0.02)
        assert target.std().item() == pytest.approx(1, abs=0.02)
    x = torch.randn(1, 3, 2, 2)
    torch.testing.assert_close(
        denoiser(x, torch.tensor([1e-6]), torch.zeros(1)), x, atol=1e-5, rtol=0, check_dtype=False
    )


def test_log_sigma_is_normally_distributed(constant_network: MakeNetwork) -> None:
    denoiser = EDMDenoiser(
        constant_network(torch.zeros(1)), VarianceExploding(), log_sigma_mean=-1.0, log_sigma_std=0.7
    )
    drawn = denoiser.draw_times(20_000, generator=torch.Generator().manual_seed(2)).log().double().numpy()
    assert scipy.stats.kstest(drawn, "norm", args=(-1.0, 0.7)).pvalue > 0.01


def test_initial_weighted_loss_is_one_at_every_noise_level(constant_network: MakeNetwork) -> None:
    """With a network that returns 0, the weighted loss is 1 on average at every σ: the purpose of λ(σ)."""
    generator = torch.Generator().manual_seed(0)
    x0 = 0.5 * torch.randn(4096, 3, 4, 4, generator=generator)
    denoiser = EDMDenoiser(constant_network(torch.zeros(1)), VarianceExploding(), sigma_data=0.5)
    t = denoiser.draw_times(4096, generator=generator)
    loss = denoiser.loss_at(x0, torch.zeros(4096), t=t, noise=torch.randn(x0.shape, generator=generator))
    assert loss.weighted.mean().item() == pytest.approx(1, abs=0.02)
