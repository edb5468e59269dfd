"""The posterior of a mixture, against dense Gaussians, limits and Monte Carlo."""

import math

import pytest
import torch
from torch import Tensor

from histosynth.diffusion.mixture import Mixture

SIDE, BANDS = 4, 4


def mixture_of(labels: int, components: int, *, seed: int = 0) -> Mixture:
    """A mixture of 4-px images with random axes, weights, means and variances."""
    generator = torch.Generator().manual_seed(seed)
    mixture = Mixture(image_px=SIDE, labels=labels, components=components).double()
    mixture.axes.copy_(torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0])
    weight = torch.rand(labels, components, generator=generator, dtype=torch.float64)
    mixture.log_weight.copy_((weight / weight.sum()).log())
    mixture.mean.copy_(torch.randn(mixture.mean.shape, generator=generator))
    mixture.variance.copy_(torch.rand(mixture.variance.shape, generator=generator) + 0.05)
    return mixture


def dense(mixture: Mixture, label: int, component: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weight, mean (48,) and covariance (48, 48) of a component in pixels."""
    pixels = torch.eye(3 * SIDE**2, dtype=torch.float64).view(-1, 3, SIDE, SIDE)
    columns = mixture.transform(pixels).flatten(1)  # the transform of each pixel
    mean = torch.zeros(3, SIDE, SIDE, dtype=torch.float64)
    mean[:, 0, 0] = mixture.mean[label, component]
    variance = mixture.variance[label, component].view(3, BANDS, BANDS)  # at 4 px, a coefficient to a band
    return (
        mixture.log_weight[label, component].exp(),
        columns @ mean.flatten(),
        columns @ torch.diag(variance.flatten()) @ columns.T,
    )


def exact(parts: list[tuple[Tensor, Tensor, Tensor]], x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """E[x_0 | x] of images (B, 48), and the sum of their variances within components (B,)."""
    logs, means, variances = [], [], []
    for weight, mean, covariance in parts:
        total = covariance + sigma**2 * torch.eye(len(mean), dtype=torch.float64)
        gain = covariance @ torch.linalg.inv(total)
        logs.append(weight.log() + torch.distributions.MultivariateNormal(mean, total).log_prob(x))
        means.append(mean + (x - mean) @ gain.T)
        variances.append(torch.trace(covariance - gain @ covariance).expand(len(x)))
    share = torch.stack(logs).softmax(0)
    return (share[..., None] * torch.stack(means)).sum(0), (share * torch.stack(variances)).sum(0)


@pytest.mark.parametrize("sigma", [0.02, 0.5, 3.0])
@pytest.mark.parametrize(("labels", "components"), [(1, 1), (1, 2), (3, 2)])
def test_the_posterior_is_that_of_dense_gaussians(labels: int, components: int, sigma: float) -> None:
    mixture = mixture_of(labels, components)
    x = torch.randn(5, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for label in range(labels + 1):
        ones = range(labels) if label == labels else [label]  # the null label: all of them
        parts = [dense(mixture, one, k) for one in ones for k in range(components)]
        mean, variance = exact(parts, x.flatten(1), sigma)
        posterior = mixture.posterior(x, torch.full((5,), sigma).double(), torch.full((5,), label))
        torch.testing.assert_close(posterior.mean.flatten(1), mean)
        torch.testing.assert_close(posterior.deviation.square().flatten(1).sum(1), variance)


def test_each_image_has_its_own_noise_and_label() -> None:
    mixture = mixture_of(2, 3)
    x = torch.randn(6, 3, SIDE, SIDE, dtype=torch.float64)
    sigma, label = torch.tensor([0.1, 0.3, 1.0, 2.0, 9.0, 80.0]).double(), torch.tensor([0, 1, 2, 0, 1, 2])
    together = mixture.posterior(x, sigma, label)
    for i in range(6):
        alone = mixture.posterior(x[i : i + 1], sigma[i : i + 1], label[i : i + 1])
        torch.testing.assert_close(alone.mean[0], together.mean[i])
        torch.testing.assert_close(alone.deviation[0], together.deviation[i])


def test_without_noise_the_posterior_is_the_image_and_with_nothing_else_the_prior() -> None:
    mixture = mixture_of(1, 3)
    x, label = torch.randn(4, 3, SIDE, SIDE, dtype=torch.float64), torch.zeros(4, dtype=torch.long)
    posterior = mixture.posterior(x, torch.full((4,), 1e-5).double(), label)
    torch.testing.assert_close(posterior.mean, x, atol=1e-7, rtol=0)
    torch.testing.assert_close(posterior.deviation, torch.full_like(x, 1e-5), rtol=1e-6, atol=0)
    noise = 1e7 * torch.randn(x.shape, dtype=torch.float64)
    posterior = mixture.posterior(x + noise, torch.full((4,), 1e7).double(), label)
    weight = mixture.log_weight[0].exp()
    color = torch.zeros_like(x)
    color[:, :, 0, 0] = weight @ mixture.mean[0]
    torch.testing.assert_close(posterior.mean, mixture.inverse(color), atol=1e-5, rtol=0)
    variance = (weight @ mixture.variance[0]).view(3, BANDS, BANDS).expand_as(x)
    torch.testing.assert_close(posterior.deviation.square(), variance, rtol=1e-5, atol=0)


def test_monte_carlo_finds_the_same_mean() -> None:
    """E[x_0 | x] = E[x_0 p(x | x_0)] / E[p(x | x_0)] over draws x_0 of the mixture."""
    mixture, generator, sigma = mixture_of(1, 2), torch.Generator().manual_seed(2), 2.0
    draws = 400_000
    which = torch.multinomial(mixture.log_weight[0].exp(), draws, replacement=True, generator=generator)
    y = torch.randn(draws, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)
    y *= mixture.variance[0].sqrt().view(-1, 3, BANDS, BANDS)[which]
    y[:, :, 0, 0] += mixture.mean[0][which]
    x0 = mixture.inverse(y)
    x = x0[:3] + sigma * torch.randn(3, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)
    means = mixture.posterior(x, torch.full((3,), sigma).double(), torch.zeros(3, dtype=torch.long)).mean
    for image, mean in zip(x, means, strict=True):
        weight = (-(image - x0).flatten(1).square().sum(1) / (2 * sigma**2)).softmax(0)
        error = (weight.square().sum()).sqrt().item()  # one over the root of the effective number of draws
        assert (torch.einsum("n,ncij->cij", weight, x0) - mean).abs().max().item() < 5 * error


def test_the_denoiser_has_the_least_error_and_says_how_large_it_is() -> None:
    mixture, generator = mixture_of(1, 1), torch.Generator().manual_seed(3)
    y = torch.randn(20_000, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)
    y *= mixture.variance[0, 0].sqrt().view(3, BANDS, BANDS)
    y[:, :, 0, 0] += mixture.mean[0, 0]
    x0 = mixture.inverse(y)
    x = x0 + 0.4 * torch.randn(x0.shape, generator=generator, dtype=torch.float64)
    posterior = mixture.posterior(x, torch.full((20_000,), 0.4).double(), torch.zeros(20_000, dtype=torch.long))
    error = mixture.transform(posterior.mean - x0)
    torch.testing.assert_close(error.square().mean(0), posterior.deviation[0].square(), rtol=0.05, atol=0)
    assert (error * mixture.transform(x)).mean(0).abs().max() < 0.02  # what is left has nothing to do with x


def test_the_transform_keeps_lengths_and_can_be_undone() -> None:
    mixture = mixture_of(1, 1)
    x = torch.randn(2, 3, SIDE, SIDE, dtype=torch.float64)
    y = mixture.transform(x)
    torch.testing.assert_close(mixture.inverse(y), x)
    assert mixture.energy(y).sum().item() == pytest.approx(x.square().sum().item())
    gray = mixture.transform(torch.ones(1, 3, SIDE, SIDE, dtype=torch.float64))
    assert gray.square().sum().item() == pytest.approx(3 * SIDE**2)
    assert gray[:, :, 0, 0].square().sum().item() == pytest.approx(3 * SIDE**2)


def test_half_precision_around_it_rounds_nothing() -> None:
    mixture = mixture_of(1, 2).float()
    x, sigma, label = torch.randn(2, 3, SIDE, SIDE), torch.full((2,), 0.01), torch.zeros(2, dtype=torch.long)
    plain = mixture.posterior(x, sigma, label)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mixture.posterior(x, sigma, label).mean, plain.mean)
        assert torch.equal(mixture.inverse(mixture.transform(x)), mixture.inverse(mixture.transform(x)))
        assert mixture.transform(x).dtype == torch.float32


def test_sampling_first_does_not_prevent_training() -> None:
    mixture = mixture_of(1, 2)
    x, sigma = torch.randn(2, 3, SIDE, SIDE, dtype=torch.float64), torch.full((2,), 0.1).double()
    with torch.inference_mode():
        mixture.posterior(x, sigma, torch.zeros(2, dtype=torch.long))
    x.requires_grad_()
    mixture.posterior(x, sigma, torch.zeros(2, dtype=torch.long)).mean.sum().backward()
    assert x.grad is not None


def test_an_unused_component_changes_nothing() -> None:
    mixture, wider = mixture_of(1, 2), Mixture(image_px=SIDE, labels=1, components=3).double()
    wider.axes.copy_(mixture.axes)
    wider.log_weight.fill_(-math.inf)
    for name in ("log_weight", "mean", "variance"):
        getattr(wider, name)[:, :2] = getattr(mixture, name)
    x, label = torch.randn(4, 3, SIDE, SIDE, dtype=torch.float64), torch.zeros(4, dtype=torch.long)
    for sigma in (0.01, 1.0, 50.0):
        posteriors = [one.posterior(x, torch.full((4,), sigma).double(), label) for one in (mixture, wider)]
        torch.testing.assert_close(posteriors[0].mean, posteriors[1].mean)
        torch.testing.assert_close(posteriors[0].deviation, posteriors[1].deviation)
