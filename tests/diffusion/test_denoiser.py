"""Denoisers: what they recover from a network that knows the truth, and the weights of their losses."""

import pytest
import torch
from torch import Tensor, nn

from histosynth.config import DiffusionSettings, ModelSettings
from histosynth.diffusion.build import build_denoiser
from histosynth.diffusion.denoiser import EDMDenoiser, EpsilonDenoiser
from histosynth.diffusion.guidance import guided
from histosynth.diffusion.schedule import VarianceExploding, linear
from histosynth.diffusion.weighting import p2
from histosynth.errors import HistosynthError


class Told(nn.Module):
    """A network that answers what it was told, and remembers what it was asked."""

    null_label = 3

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        self.asked.append((x, time, label))
        return self.answer


def test_epsilon_denoiser_recovers_the_image_from_the_true_noise() -> None:
    schedule = linear(1000)
    x0, noise = torch.rand(3, 3, 4, 4).double() * 2 - 1, torch.randn(3, 3, 4, 4).double()
    t = torch.tensor([1.0, 400.0, 1000.0]).double()
    x = schedule.alpha(t)[:, None, None, None] * x0 + schedule.sigma(t)[:, None, None, None] * noise
    network = Told(noise)
    torch.testing.assert_close(EpsilonDenoiser(network, schedule)(x, t, torch.zeros(3)), x0, atol=1e-9, rtol=0)
    torch.testing.assert_close(network.asked[0][1], t - 1)  # ADM networks count timesteps from 0


@pytest.mark.parametrize(("k", "gamma"), [(1.0, 0.5), (1.0, 1.0), (0.5, 1.0)])
def test_p2_weights_equal_the_formula_at_ten_timesteps(k: float, gamma: float) -> None:
    bars = linear(1000).alpha_bars
    for t in range(1, 1001, 111):
        snr = bars[t] / (1 - bars[t])
        assert p2(snr, k=k, gamma=gamma).item() == pytest.approx((k + float(bars[t]) / (1 - float(bars[t]))) ** -gamma)
        if k == 1:
            assert p2(snr, k=k, gamma=gamma).item() == pytest.approx((1 - float(bars[t])) ** gamma)


def test_epsilon_loss_is_the_weighted_square_error_of_the_noise() -> None:
    schedule, x0 = linear(1000), torch.zeros(4, 3, 2, 2)
    network = Told(torch.zeros(4, 3, 2, 2))
    generator = torch.Generator().manual_seed(5)
    loss = EpsilonDenoiser(network, schedule, k=1.0, gamma=1.0).loss(x0, torch.zeros(4), generator=generator)
    x, time, _ = network.asked[0]
    sigma = schedule.sigma(time + 1)
    noise = x / sigma[:, None, None, None]
    torch.testing.assert_close(loss, sigma**2 * noise.square().mean((1, 2, 3)), rtol=1e-4, atol=1e-6)


def test_edm_preconditioning_gives_unit_variance_and_the_identity_limits() -> None:
    """Input and target of the network have unit variance; without noise it is the identity (Karras 2022, B.6)."""
    sigma_data = 0.4
    for sigma in (0.01, 0.4, 5.0):
        torch.manual_seed(0)
        network = Told(torch.zeros(1))
        denoiser = EDMDenoiser(network, VarianceExploding(), sigma_data=sigma_data)
        x0 = sigma_data * torch.randn(40_000, 1, 1, 1).double()
        x = x0 + sigma * torch.randn(40_000, 1, 1, 1).double()
        skipped = denoiser(x, torch.full((40_000,), sigma).double(), torch.zeros(40_000))
        network.answer = torch.ones(1).double()
        out = denoiser(x, torch.full((40_000,), sigma).double(), torch.zeros(40_000)) - skipped
        target = (x0 - skipped) / out
        assert network.asked[0][0].std().item() == pytest.approx(1, abs=0.02)
        assert target.std().item() == pytest.approx(1, abs=0.02)
    x = torch.randn(1, 3, 2, 2)
    torch.testing.assert_close(
        denoiser(x, torch.tensor([1e-6]), torch.zeros(1)), x, atol=1e-5, rtol=0, check_dtype=False
    )


def test_edm_loss_weight_makes_every_noise_level_count_alike_at_the_start() -> None:
    """With a network that answers 0, the weighted loss is 1 on average at every σ: that is what λ(σ) is for."""
    generator = torch.Generator().manual_seed(0)
    x0 = 0.5 * torch.randn(4096, 3, 4, 4, generator=generator)
    denoiser = EDMDenoiser(Told(torch.zeros(1)), VarianceExploding(), sigma_data=0.5)
    loss = denoiser.loss(x0, torch.zeros(4096), generator=generator)
    assert loss.mean().item() == pytest.approx(1, abs=0.02)


def test_guidance_blends_label_and_null_label() -> None:
    class Labels(nn.Module):
        null_label = 3

        def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
            return label[:, None, None, None].double().expand_as(x) / 10

    denoiser = EDMDenoiser(Labels(), VarianceExploding(), sigma_data=1.0)
    x, t, label = torch.zeros(2, 3, 2, 2).double(), torch.tensor(1.0).double(), torch.tensor([0, 1])
    out = 2**-0.5  # c_out at σ = σ_data = 1
    for w in (0.0, 1.0, 2.5):
        expected = out * (0.3 + w * (label / 10 - 0.3)).clamp(-1 / out, 1 / out)
        found = guided(denoiser, label, guidance=w)(x, t).clean
        torch.testing.assert_close(found[:, 0, 0, 0], expected.double())
    assert guided(denoiser, label, guidance=30.0)(x, t).clean.abs().max() <= 1


def test_settings_that_do_not_fit_the_patches_are_one_line() -> None:
    with pytest.raises(HistosynthError, match="no multiple of stem 3"):
        build_denoiser(ModelSettings(stem=3), DiffusionSettings(), image_px=64, labels=2)
    with pytest.raises(HistosynthError, match="attention heads"):
        build_denoiser(ModelSettings(channels=30), DiffusionSettings(), image_px=64, labels=2)
