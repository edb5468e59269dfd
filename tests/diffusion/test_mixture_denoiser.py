"""The denoiser that corrects a mixture: what it computes in closed form, and the whitened loss."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from histosynth.config import DiffusionSettings, ModelSettings
from histosynth.diffusion.build import build_denoiser
from histosynth.diffusion.mixture import Mixture
from histosynth.diffusion.mixture_denoiser import MixtureDenoiser
from histosynth.diffusion.schedule import VarianceExploding


class Constant(nn.Module):
    """A network with one answer, which keeps its last input."""

    null_label = 1

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer, self.input = answer, torch.empty(0)

    def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        self.input = x
        return self.answer


def texture(side: int = 8) -> Mixture:
    """Much power at low frequencies, hardly any at high ones, as tissue has it."""
    mixture = Mixture(image_px=side, labels=1, components=1).double()
    bands = int(mixture.count.shape[0])
    falling = 10.0 ** -(torch.arange(bands)[:, None] + torch.arange(bands)).double()
    mixture.variance.copy_(falling.expand(3, -1, -1).flatten())
    return mixture


def drawn(mixture: Mixture, count: int, *, side: int = 8) -> Tensor:
    torch.manual_seed(0)
    band = mixture._band
    variance = band @ mixture.variance[0, 0].view(3, *mixture.count.shape) @ band.T
    return mixture.inverse(variance.sqrt() * torch.randn(count, 3, side, side, dtype=torch.float64))


def test_without_an_answer_it_is_the_mixture_and_an_answer_counts_by_the_deviation() -> None:
    mixture = texture()
    network = Constant(torch.zeros(4, 3, 8, 8).double())
    denoiser = MixtureDenoiser(network, VarianceExploding(), mixture, sigma_data=0.4)
    x, t, label = torch.randn(4, 3, 8, 8).double(), torch.full((4,), 0.3).double(), torch.zeros(4, dtype=torch.long)
    posterior = mixture.posterior(x, t, label)
    torch.testing.assert_close(denoiser(x, t, label), posterior.mean)
    network.answer = torch.randn(4, 3, 8, 8).double()
    correction = mixture.transform(denoiser(x, t, label) - posterior.mean)
    torch.testing.assert_close(correction, posterior.deviation * mixture.transform(network.answer))
    torch.testing.assert_close(network.input, torch.cat([x / 0.5, posterior.mean], dim=1))


@pytest.mark.parametrize("whitening", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("sigma", [0.02, 0.3, 5.0])
def test_the_loss_is_one_before_anything_is_learned(whitening: float, sigma: float) -> None:
    mixture = texture()
    x0 = drawn(mixture, 2000)
    denoiser = MixtureDenoiser(Constant(torch.zeros_like(x0)), VarianceExploding(), mixture, whitening=whitening)
    t, label = torch.full((2000,), sigma).double(), torch.zeros(2000, dtype=torch.long)
    loss = denoiser.loss_at(x0, label, t=t, noise=torch.randn(x0.shape, dtype=torch.float64))
    assert loss.weighted.mean().item() == pytest.approx(1, abs=0.04)


def test_the_loss_is_that_of_pixels_or_of_the_answer() -> None:
    mixture = texture()
    network = Constant(torch.randn(3, 3, 8, 8).double())
    x0, t, label = drawn(mixture, 3), torch.tensor([0.1, 0.5, 2.0]).double(), torch.zeros(3, dtype=torch.long)
    noise = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    x = x0 + t[:, None, None, None] * noise
    posterior = mixture.posterior(x, t, label)

    def loss(whitening: float) -> tuple[Tensor, Tensor, Tensor]:
        denoiser = MixtureDenoiser(network, VarianceExploding(), mixture, whitening=whitening)
        return denoiser(x, t, label), *denoiser.loss_at(x0, label, t=t, noise=noise)

    clean, weighted, plain = loss(0.0)
    square = (clean - x0).square().flatten(1).mean(1)
    torch.testing.assert_close(plain, square)
    torch.testing.assert_close(weighted, square / posterior.deviation.square().flatten(1).mean(1))
    target = mixture.transform(x0 - posterior.mean) / posterior.deviation
    _, weighted, plain = loss(1.0)
    torch.testing.assert_close(weighted, (mixture.transform(network.answer) - target).square().flatten(1).mean(1))
    torch.testing.assert_close(plain, square)
    error, s = mixture.transform(clean - x0), posterior.deviation
    half = (error.square() / s).flatten(1).sum(1) / s.flatten(1).sum(1)
    torch.testing.assert_close(loss(0.5)[1], half)


def test_settings_build_it_and_it_is_the_mixture_at_first() -> None:
    model = ModelSettings(channels=8, channel_mult=(1, 2), blocks=1, attention_px=(4,), heads=2)
    settings = DiffusionSettings(mixture=4, whitening=0.25, sigma_data=0.3)
    denoiser = build_denoiser(model, settings, image_px=8, labels=2)
    assert isinstance(denoiser, MixtureDenoiser)
    assert (denoiser.whitening, denoiser.sigma_data) == (0.25, 0.3)
    x, t, label = torch.randn(3, 3, 8, 8), torch.full((3,), 0.7), torch.tensor([0, 1, 2])
    torch.testing.assert_close(denoiser(x, t, label), denoiser.mixture.posterior(x, t, label).mean)
    kept = {name for name in denoiser.state_dict() if name.startswith("mixture.")}
    assert kept == {"mixture.axes", "mixture.log_weight", "mixture.mean", "mixture.variance"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"process": "ddpm", "mixture": 64}, "process 'ddpm' .*mixture = 64"),
        ({"process": "flow", "mixture": 64}, "process 'flow' .*mixture = 64"),
        ({"whitening": 0.25}, "whitening = 0.25 applies to the loss of a mixture, and there is none"),
    ],
)
def test_settings_that_would_change_nothing_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DiffusionSettings(**given)
