"""The variational bound against numerical integration, and the hybrid loss with a learned variance."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch import Tensor

from histosynth.diffusion.discrete import DiscreteDenoiser
from histosynth.diffusion.schedule import VariancePreserving, cosine, linear, zero_terminal_snr
from histosynth.diffusion.variational import Posterior, log_bin_mass, prior_bits_per_dim, step_bits_per_dim

MEAN, STD = -0.1, 0.15  # of the Gaussian data, which lies in [-1, 1]
BINS = np.linspace(-1, 1, 256)
SCHEDULES = {
    "linear": linear(1000),
    "short": linear(100),
    "cosine": cosine(200),
    "no signal at the end": zero_terminal_snr(linear(1000)),
}


def scalar(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None, None, None]


def bars_of(schedule: VariancePreserving, t: int) -> tuple[float, float]:
    return float(schedule.alpha_bars[t - 1]), float(schedule.alpha_bars[t])


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("t", [2, 40, 500, 1000])
def test_term_equals_the_divergence_of_two_gaussians_by_quadrature(t: int, fraction: float) -> None:
    """q by Bayes' rule, q(x_s | x_t, x_0) ~ q(x_t | x_s) q(x_s | x_0), normalized by quadrature; p directly."""
    schedule, x0, x, clean = linear(1000), 0.4, 0.7, 0.1
    before, now = bars_of(schedule, t)
    ratio, beta = now / before, 1 - now / before

    # q by Bayes' rule
    def joint(s: float) -> float:
        return float(
            norm.pdf(x, math.sqrt(ratio) * s, math.sqrt(beta))
            * norm.pdf(s, math.sqrt(before) * x0, math.sqrt(1 - before))
        )

    tilde = beta * (1 - before) / (1 - now)
    variance = math.exp(math.log(tilde) + fraction * (math.log(beta) - math.log(tilde)))

    def mean(x0: float) -> float:
        return (math.sqrt(before) * beta * x0 + math.sqrt(ratio) * (1 - before) * x) / (1 - now)

    low, high = mean(x0) - 12 * math.sqrt(tilde), mean(x0) + 12 * math.sqrt(tilde)
    total = quad(joint, low, high, epsabs=0, epsrel=1e-12)[0]

    def integrand(s: float) -> float:
        q = joint(s) / total
        return float(q * (math.log(max(q, 1e-300)) - norm.logpdf(s, mean(clean), math.sqrt(variance))))

    expected = quad(integrand, low, high, epsabs=0, epsrel=1e-10, limit=200)[0] / math.log(2)
    # Comparison in double and single precision
    double = step_bits_per_dim(
        Posterior(schedule), x0=scalar(x0), x=scalar(x), t=torch.tensor([t]).double(), clean=scalar(clean),
        variance_fraction=scalar(fraction),
    )  # fmt: skip
    assert double.item() == pytest.approx(expected, rel=1e-6)
    single = step_bits_per_dim(
        Posterior(schedule), x0=scalar(x0).float(), x=scalar(x).float(), t=torch.tensor([float(t)]),
        clean=scalar(clean).float(), variance_fraction=scalar(fraction).float(),
    )  # fmt: skip
    assert single.item() == pytest.approx(expected, rel=1e-4)


def test_prior_term_is_the_divergence_from_a_standard_normal() -> None:
    schedule = VariancePreserving(torch.tensor([0.9, 0.5, 0.2]))
    x0 = torch.tensor([[-1.0, 0.3], [0.9, 0.0]]).double()[:, None, None]
    q = torch.distributions.Normal(math.sqrt(schedule.alpha_bars[3]) * x0, math.sqrt(1 - schedule.alpha_bars[3]))
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).flatten(1).mean(1)
    torch.testing.assert_close(prior_bits_per_dim(schedule, x0), kl / math.log(2))


@pytest.mark.parametrize("mean", [-1.2, -0.99, 0.0013, 0.7, 1.0])
@pytest.mark.parametrize("deviation", [0.004, 0.05, 1.0])
def test_decoder_equals_the_mass_of_each_bin(mean: float, deviation: float) -> None:
    edges = np.concatenate([[-np.inf], (BINS[1:] + BINS[:-1]) / 2, [np.inf]])
    expected = np.diff(norm.cdf(edges, mean, deviation))
    log = log_bin_mass(
        torch.tensor(BINS),
        mean=torch.tensor(mean, dtype=torch.float64),
        log_variance=torch.tensor(2 * math.log(deviation), dtype=torch.float64),
    )
    np.testing.assert_allclose(log.exp().numpy(), expected, rtol=1e-6, atol=1e-13)
    assert log.exp().sum().item() == pytest.approx(1, abs=1e-9)
    assert log.isfinite().all()  # even a hundred deviations from the mean


def test_gradient_of_the_decoder_is_finite_in_float32_for_any_mean() -> None:
    log_variance = torch.full((5,), -9.9, requires_grad=True)
    mean = torch.tensor([0.0, 5.0, -5.0, 100.0, -1.0])
    log_bin_mass(torch.tensor([0.0, 0.5, 0.5, -1.0, 1.0]), mean=mean, log_variance=log_variance).sum().backward()
    assert log_variance.grad is not None
    assert log_variance.grad.isfinite().all()


class Optimal:
    """The exact reverse chain p for Gaussian data: x̂_0 = slope · x_t + offset, and its variance."""

    def __init__(self, schedule: VariancePreserving) -> None:
        self.schedule, self.posterior = schedule, Posterior(schedule)

    def clean(self, t: int) -> tuple[float, float]:
        bar = float(self.schedule.alpha_bars[t])
        slope = STD**2 * math.sqrt(bar) / (bar * STD**2 + 1 - bar)
        return slope, MEAN * (1 - slope * math.sqrt(bar))

    def fraction(self, t: int) -> float:
        """Return the variance fraction of x_{t-1} given x_t: variance of the posterior plus that due to unknown x_0."""
        before, now = bars_of(self.schedule, t)
        unknown = STD**2 * (1 - now) / (now * STD**2 + 1 - now)
        of_clean = math.sqrt(before) * (1 - now / before) / (1 - now)
        true = (1 - before) / (1 - now) * (1 - now / before) + of_clean**2 * unknown
        time = torch.tensor(float(t)).double()
        small, large = self.posterior.log_small(time).item(), self.posterior.log_large(time).item()
        return (math.log(true) - small) / (large - small)

    def bound(self) -> float:
        """Compute the expected bits of L_T + … + L_0 over data binned to bytes: x_t by Gauss-Hermite quadrature."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(24)
        weights = weights / weights.sum()
        masses = torch.tensor(data_masses())
        x0 = torch.tensor(BINS).repeat_interleave(24)[:, None, None, None]
        noise = torch.tensor(nodes).repeat(256)[:, None, None, None]
        weight = masses.repeat_interleave(24) * torch.tensor(weights).repeat(256)
        total = (weight * prior_bits_per_dim(self.schedule, x0)).sum().item()
        for t in range(1, self.schedule.timesteps + 1):
            bar = float(self.schedule.alpha_bars[t])
            x = math.sqrt(bar) * x0 + math.sqrt(1 - bar) * noise
            slope, offset = self.clean(t)
            bits = step_bits_per_dim(
                self.posterior, x0=x0, x=x, t=torch.full((len(x),), float(t)).double(), clean=slope * x + offset,
                variance_fraction=torch.full_like(x, self.fraction(t)),
            )  # fmt: skip
            total += (weight * bits).sum().item()
        return total

    def cross_entropy(self) -> float:
        """Compute the expected -log2 p(x_0) of the chain: p(x_1) is Gaussian, and the decoder is integrated over it."""
        mean, variance = 0.0, 1.0
        for t in range(self.schedule.timesteps, 1, -1):
            before, now = bars_of(self.schedule, t)
            beta = 1 - now / before
            slope, offset = self.clean(t)
            of_x, of_clean = (
                math.sqrt(now / before) * (1 - before) / (1 - now),
                math.sqrt(before) * beta / (1 - now),
            )
            tilde = beta * (1 - before) / (1 - now)
            added = tilde * (beta / tilde) ** self.fraction(t)
            mean = (of_x + of_clean * slope) * mean + of_clean * offset
            variance = (of_x + of_clean * slope) ** 2 * variance + added
        slope, offset = self.clean(1)
        small, large = (
            float(table(torch.tensor(1.0).double())) for table in (self.posterior.log_small, self.posterior.log_large)
        )
        decoder = math.exp((small + self.fraction(1) * (large - small)) / 2)
        # x_0 given x_1 is a Gaussian around slope · x_1 + offset, so x_0 is Gaussian as well
        total = norm(slope * mean + offset, math.sqrt(slope**2 * variance + decoder**2))
        edges = np.concatenate([[-np.inf], (BINS[1:] + BINS[:-1]) / 2, [np.inf]])
        masses = np.diff(total.cdf(edges))

        def joint(x: float) -> float:
            mass = np.diff(norm.cdf(edges[128:130], slope * x + offset, decoder))[0]
            return float(norm.pdf(x, mean, math.sqrt(variance)) * mass)

        near = BINS[128]  # one bin by numerical integration
        integral = quad(joint, near - 0.2, near + 0.2, points=[near - 0.02, near, near + 0.02], epsrel=1e-9)[0]
        assert integral == pytest.approx(masses[128], rel=1e-6)
        return float(-(data_masses() * np.log2(masses)).sum())


@cache
def data_masses() -> Any:
    edges = np.concatenate([[-np.inf], (BINS[1:] + BINS[:-1]) / 2, [np.inf]])
    return np.diff(norm.cdf(edges, MEAN, STD))


@pytest.mark.parametrize("name", SCHEDULES)
def test_sum_of_all_terms_bounds_the_likelihood_and_is_tight_for_the_exact_chain(name: str) -> None:
    """Entropy of the data <= cross entropy of the chain <= the bound, in bits per dimension, and nearly equal.

    The remaining difference (9e-4 bits at T = 1000, 1e-5 at T = 100) arises because data in bins of 1/127.5 are not
    exactly Gaussian compared with the first noise, σ_1 = 0.01.
    """
    chain = Optimal(SCHEDULES[name])
    entropy = float(-(data_masses() * np.log2(data_masses())).sum())
    bound, cross = chain.bound(), chain.cross_entropy()
    assert entropy <= cross + 1e-9
    assert cross <= bound + 1e-9
    assert bound - entropy < 1e-3


def test_any_other_variance_loosens_the_bound() -> None:
    chain = Optimal(linear(50))
    best = chain.bound()
    true_fraction = chain.fraction
    for other in (lambda t: 0.0, lambda t: 1.0, lambda t: min(true_fraction(t) + 0.1, 1.0)):
        chain.fraction = other  # type: ignore[method-assign]
        assert chain.bound() > best + 1e-4


@pytest.mark.parametrize("t", [1, 2, 130, 400])
@pytest.mark.parametrize("prediction_type", ["epsilon", "x0", "v"])
def test_hybrid_loss_adds_the_unweighted_term_which_trains_only_the_variance(
    constant_network: Callable[[Tensor], Any], prediction_type: Any, t: int
) -> None:
    schedule = linear(400)
    x0, noise = torch.rand(2, 3, 2, 2).double() * 2 - 1, torch.randn(2, 3, 2, 2).double()
    out = 0.3 * torch.randn(2, 6, 2, 2).double()
    if prediction_type == "x0":
        out[:, :3] = x0 + out[:, :3] / 20  # near x0, otherwise the mass at t = 1 underflows float64
    out.requires_grad_()

    def zero(snr: Tensor, prediction_type: object) -> Tensor:
        return torch.zeros_like(snr)

    # The term trains only the variance
    time, label = torch.full((2,), float(t)).double(), torch.zeros(2)
    options = {"prediction_type": prediction_type, "variance": "learned"}
    term = (
        DiscreteDenoiser(constant_network(out), schedule, weighting=zero, **options)
        .loss_at(x0, label, t=time, noise=noise)
        .weighted
    )
    term.sum().backward()
    assert out.grad is not None
    assert not out.grad[:, :3].any()
    assert out.grad[:, 3:].all()
    assert torch.equal(out.grad[0] != 0, out.grad[1] != 0)
    # The loss adds it unweighted
    denoiser = DiscreteDenoiser(constant_network(out), schedule, weighting=lambda snr, _: 7 + 0 * snr, **options)
    loss = denoiser.loss_at(x0, label, t=time, noise=noise)
    torch.testing.assert_close(loss.weighted, 7 * loss.unweighted + term)
    # The term equals the bound written out
    before, now = bars_of(schedule, t)
    beta = 1 - now / before
    first, second = bars_of(schedule, max(t, 2))  # β̃_1 = 0 is replaced by β̃_2
    tilde = (1 - second / first) * (1 - first) / (1 - second)
    x = math.sqrt(now) * x0 + math.sqrt(1 - now) * noise
    clean = denoiser(x, time, label).detach()
    variance = (math.log(tilde) + (out[:, 3:].detach() + 1) / 2 * (math.log(beta) - math.log(tilde))).exp()
    mean = (math.sqrt(before) * beta * clean + math.sqrt(now / before) * (1 - before) * x) / (1 - now)
    if t == 1:
        upper, lower = (norm.cdf((x0 + side - mean) / variance.sqrt()) for side in (1 / 255, -1 / 255))
        nats = -np.log(upper - lower)
    else:
        true = (math.sqrt(before) * beta * x0 + math.sqrt(now / before) * (1 - before) * x) / (1 - now)
        p, q = torch.distributions.Normal(mean, variance.sqrt()), torch.distributions.Normal(true, math.sqrt(tilde))
        nats = torch.distributions.kl_divergence(q, p).numpy()
    bits = nats.reshape(2, -1).mean(1) / math.log(2)
    np.testing.assert_allclose(term.detach().numpy(), 0.001 * 400 * bits, rtol=1e-6)


def test_wrong_number_of_output_channels_is_reported(constant_network: Callable[[Tensor], Any]) -> None:
    x, t, label = torch.zeros(1, 3, 2, 2), torch.ones(1), torch.zeros(1)
    with pytest.raises(ValueError, match="has 3 output channels; variance 'learned' needs 6"):
        DiscreteDenoiser(constant_network(x), linear(10), variance="learned").predict(x, t, label)
    with pytest.raises(ValueError, match="has 6 output channels; variance 'small' needs 3"):
        DiscreteDenoiser(constant_network(torch.zeros(1, 6, 2, 2)), linear(10)).predict(x, t, label)


def test_predicted_variance_fraction_is_clipped_to_its_range(constant_network: Callable[[Tensor], Any]) -> None:
    out = torch.cat([torch.zeros(1, 3, 1, 3), torch.tensor([-1.5, 0.2, 1.5]).expand(1, 3, 1, 3)], dim=1)
    denoiser = DiscreteDenoiser(constant_network(out), linear(10), variance="learned")
    fraction = denoiser.predict(torch.zeros(1, 3, 1, 3), torch.ones(1), torch.zeros(1)).variance_fraction
    assert fraction is not None
    assert fraction[0, 0, 0].tolist() == pytest.approx([0, 0.6, 1])
