"""The classifier of noisy images reaches the Bayes error, and its gradient is that of its log probability."""

import pytest
import torch
from torch import Tensor

from histosynth.config import ModelSettings
from histosynth.diffusion.build import build_classifier
from histosynth.diffusion.noisy_classifier import NoisyClassifier
from histosynth.diffusion.schedule import Schedule, VarianceExploding
from histosynth.diffusion.unet import UNet
from histosynth.errors import HistosynthError

TINY = ModelSettings(channels=8, channel_mult=(1, 2), blocks=1, attention_px=(4,), heads=2)


def tiny(schedule: Schedule) -> NoisyClassifier:
    torch.manual_seed(0)
    classifier = build_classifier(TINY, schedule, image_px=8, labels=3).eval()
    for parameter in classifier.parameters():  # zero-initialized convolutions would hide everything before them
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return classifier


def test_gradient_is_that_of_the_log_probability(schedule: Schedule) -> None:
    classifier = tiny(schedule).double()
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 3, 8, 8, generator=generator).double()
    direction = torch.randn(2, 3, 8, 8, generator=generator).double()
    t, label = schedule.times(3)[1].double().expand(2), torch.tensor([2, 0])

    def log_probability(step: float) -> Tensor:
        with torch.no_grad():
            logits = classifier.network(_scaled(classifier, x + step * direction, t), _angle(classifier, t))
        return torch.log_softmax(logits, dim=1)[torch.arange(2), label]

    slope = (log_probability(1e-5) - log_probability(-1e-5)) / 2e-5
    with torch.inference_mode():  # as samplers call it
        directional = (classifier.gradient(x, t, label) * direction).sum((1, 2, 3))
    torch.testing.assert_close(directional.clone(), slope, rtol=1e-4, atol=1e-6)


def _scaled(classifier: NoisyClassifier, x: Tensor, t: Tensor) -> Tensor:
    alpha, sigma = classifier.schedule.alpha(t), classifier.schedule.sigma(t)
    return x / (sigma**2 + alpha**2 / 4).sqrt()[:, None, None, None]


def _angle(classifier: NoisyClassifier, t: Tensor) -> Tensor:
    return torch.atan2(classifier.schedule.sigma(t), classifier.schedule.alpha(t)) * 2000 / torch.pi


@pytest.mark.slow
def test_accuracy_reaches_the_bayes_limit() -> None:
    """Two labels, constant images of ±0.25: at noise level σ the Bayes accuracy is Φ(0.25 √48 / σ)."""
    schedule = VarianceExploding(sigma_min=0.5, sigma_max=6.0, rho=1.0)
    settings = ModelSettings(channels=64, channel_mult=(1,), blocks=1, attention_px=(), heads=1)
    torch.manual_seed(0)
    classifier = build_classifier(settings, schedule, image_px=4, labels=2)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=2e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 150)
    generator = torch.Generator().manual_seed(0)

    def batch(n: int) -> tuple[Tensor, Tensor]:
        label = torch.arange(n) % 2
        return (label.float() - 0.5)[:, None, None, None].expand(n, 3, 4, 4) / 2, label

    x0, label = batch(64)
    for _ in range(150):
        t, noise = classifier.draw_times(64, generator=generator), torch.randn(x0.shape, generator=generator)
        losses, _ = classifier.loss_at(x0, label, t=t, noise=noise)
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()
        decay.step()
    x0, label = batch(2000)
    for sigma in (0.5, 2.0, 6.0):
        t = torch.full((2000,), sigma)
        with torch.no_grad():
            predicted = classifier(x0 + sigma * torch.randn(x0.shape, generator=generator), t).argmax(1)
        best = torch.special.ndtr(torch.tensor(0.25 * 48**0.5 / sigma)).item()
        assert (predicted == label).float().mean().item() == pytest.approx(best, abs=0.035)


def test_network_is_the_downsampling_half_of_the_unet() -> None:
    with torch.device("meta"):
        unet = UNet(image_px=8, labels=3, channels=8, channel_mult=(1, 2), blocks=1, attention_px=(4,), heads=2)
    half = {name: value.shape for name, value in tiny(VarianceExploding()).network.state_dict().items()}
    whole = {name: value.shape for name, value in unet.state_dict().items()}
    shared = {name for name in whole if name.startswith(("time_embed", "input", "down", "middle"))}
    assert {name for name in half if not name.startswith(("norm", "output"))} == shared
    assert all(half[name] == whole[name] for name in shared)


def test_settings_that_do_not_fit_the_patches_are_reported() -> None:
    with pytest.raises(HistosynthError, match="not a multiple of stem 3"):
        build_classifier(ModelSettings(stem=3), VarianceExploding(), image_px=64, labels=2)
