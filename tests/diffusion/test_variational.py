"""The variational bound against numerical integration, and the hybrid loss that learns its variance."""

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

MEAN, STD = -0.1, 0.15  # of the Gaussian data, all of it in [-1, 1]
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


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("t", [2, 40, 500, 1000])
def test_a_term_is_the_divergence_of_two_gaussians_by_quadrature(t: int, share: float) -> None:
    """q from Bayes' rule, q(x_s | x_t, x_0) ~ q(x_t | x_s) q(x_s | x_0), normalized by quadrature; p written out."""
    schedule, x0, x, clean = linear(1000), 0.4, 0.7, 0.1
    before, now = bars_of(schedule, t)
    ratio, beta = now / before, 1 - now / before

    def joint(s: float) -> float:
        return float(
            norm.pdf(x, math.sqrt(ratio) * s, math.sqrt(beta))
            * norm.pdf(s, math.sqrt(before) * x0, math.sqrt(1 - before))
        )

    tilde = beta * (1 - before) / (1 - now)
    variance = math.exp(math.log(tilde) + share * (math.log(beta) - math.log(tilde)))

    def at(given: float) -> float:
        return (math.sqrt(before) * beta * given + math.sqrt(ratio) * (1 - before) * x) / (1 - now)

    low, high = at(x0) - 12 * math.sqrt(tilde), at(x0) + 12 * math.sqrt(tilde)
    total = quad(joint, low, high, epsabs=0, epsrel=1e-12)[0]

    def integrand(s: float) -> float:
        q = joint(s) / total
        return float(q * (math.log(max(q, 1e-300)) - norm.logpdf(s, at(clean), math.sqrt(variance))))

    expected = quad(integrand, low, high, epsabs=0, epsrel=1e-10, limit=200)[0] / math.log(2)
    found = step_bits_per_dim(
        Posterior(schedule), x0=scalar(x0), x=scalar(x), t=torch.tensor([t]).double(), clean=scalar(clean),
        variance_fraction=scalar(share),
    )  # fmt: skip
    assert found.item() == pytest.approx(expected, rel=1e-6)
    single = step_bits_per_dim(
        Posterior(schedule), x0=scalar(x0).float(), x=scalar(x).float(), t=torch.tensor([float(t)]),
        clean=scalar(clean).float(), variance_fraction=scalar(share).float(),
    )  # fmt: skip
    assert single.item() == pytest.approx(expected, rel=1e-4)


def test_the_prior_term_is_the_divergence_from_a_standard_normal() -> None:
    schedule = VariancePreserving(torch.tensor([0.9, 0.5, 0.2]))
    x0 = torch.tensor([[-1.0, 0.3], [0.9, 0.0]]).double()[:, None, None]
    q = torch.distributions.Normal(math.sqrt(schedule.alpha_bars[3]) * x0, math.sqrt(1 - schedule.alpha_bars[3]))
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).flatten(1).mean(1)
    torch.testing.assert_close(prior_bits_per_dim(schedule, x0), kl / math.log(2))


@pytest.mark.parametrize("mean", [-1.2, -0.99, 0.0013, 0.7, 1.0])
@pytest.mark.parametrize("deviation", [0.004, 0.05, 1.0])
def test_the_decoder_is_the_mass_of_each_bin(mean: float, deviation: float) -> None:
    edges = np.concatenate([[-np.inf], (BINS[1:] + BINS[:-1]) / 2, [np.inf]])
    expected = np.diff(norm.cdf(edges, mean, deviation))
    log = log_bin_mass(
        torch.tensor(BINS),
        mean=torch.tensor(mean, dtype=torch.float64),
        log_variance=torch.tensor(2 * math.log(deviation), dtype=torch.float64),
    )
    np.testing.assert_allclose(log.exp().numpy(), expected, rtol=1e-6, atol=1e-13)
    assert log.exp().sum().item() == pytest.approx(1, abs=1e-9)
    assert log.isfinite().all()  # a hundred deviations off is improbable, not impossible


def test_the_decoder_s_gradient_is_finite_in_float32_however_wrong_the_mean() -> None:
    log_variance = torch.full((5,), -9.9, requires_grad=True)
    mean = torch.tensor([0.0, 5.0, -5.0, 100.0, -1.0])
    log_bin_mass(torch.tensor([0.0, 0.5, 0.5, -1.0, 1.0]), mean=mean, log_variance=log_variance).sum().backward()
    assert log_variance.grad is not None
    assert log_variance.grad.isfinite().all()


class Optimal:
    """The chain p that inverts the process exactly, for Gaussian data: x̂_0 = slope · x_t + offset, and its variance."""

    def __init__(self, schedule: VariancePreserving) -> None:
        self.schedule, self.posterior = schedule, Posterior(schedule)

    def clean(self, t: int) -> tuple[float, float]:
        bar = float(self.schedule.alpha_bars[t])
        slope = STD**2 * math.sqrt(bar) / (bar * STD**2 + 1 - bar)
        return slope, MEAN * (1 - slope * math.sqrt(bar))

    def share(self, t: int) -> float:
        """Where the true variance of x_{t-1} given x_t lies: that of the posterior and what is not known of x_0."""
        before, now = bars_of(self.schedule, t)
        unknown = STD**2 * (1 - now) / (now * STD**2 + 1 - now)
        of_clean = math.sqrt(before) * (1 - now / before) / (1 - now)
        true = (1 - before) / (1 - now) * (1 - now / before) + of_clean**2 * unknown
        time = torch.tensor(float(t)).double()
        small, large = self.posterior.log_small(time).item(), self.posterior.log_large(time).item()
        return (math.log(true) - small) / (large - small)

    def bound(self) -> float:
        """Expected bits of L_T + … + L_0 over the data, binned to bytes: x_t by Gauss-Hermite quadrature."""
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
                variance_fraction=torch.full_like(x, self.share(t)),
            )  # fmt: skip
            total += (weight * bits).sum().item()
        return total

    def cross_entropy(self) -> float:
        """Expected -log2 p(x_0) under the chain: p(x_1) is Gaussian, and the decoder is integrated over it."""
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
            added = tilde * (beta / tilde) ** self.share(t)
            mean = (of_x + of_clean * slope) * mean + of_clean * offset
            variance = (of_x + of_clean * slope) ** 2 * variance + added
        slope, offset = self.clean(1)
        small, large = (
            float(table(torch.tensor(1.0).double())) for table in (self.posterior.log_small, self.posterior.log_large)
        )
        decoder = math.exp((small + self.share(1) * (large - small)) / 2)
        # x_0 given x_1 is a Gaussian around slope · x_1 + offset, so that of x_0 alone is one as well
        total = norm(slope * mean + offset, math.sqrt(slope**2 * variance + decoder**2))
        edges = np.concatenate([[-np.inf], (BINS[1:] + BINS[:-1]) / 2, [np.inf]])
        masses = np.diff(total.cdf(edges))

        def joint(x: float) -> float:
            mass = np.diff(norm.cdf(edges[128:130], slope * x + offset, decoder))[0]
            return float(norm.pdf(x, mean, math.sqrt(variance)) * mass)

        near = BINS[128]  # one bin by brute force
        integral = quad(joint, near - 0.2, near + 0.2, points=[near - 0.02, near, near + 0.02], epsrel=1e-9)[0]
        assert integral == pytest.approx(masses[128], rel=1e-6)
        return float(-(data_masses() * np.log2(masses)).sum())


@cache
def data_masses() -> Any:
    edges = np.concatenate([[-np.inf], (BINS[1:] + BINS[:-1]) / 2, [np.inf]])
    return np.diff(norm.cdf(edges, MEAN, STD))


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_sum_of_all_terms_bounds_the_likelihood_and_touches_it_where_the_chain_is_exact(name: str) -> None:
    """Entropy of the data <= cross entropy of the chain <= the bound, in bits a dimension, and all but equal.

    What is left (9e-4 bits at T = 1000, 1e-5 at T = 100) is that data in bins of 1/127.5 are not quite Gaussian beside
    the first noise, σ_1 = 0.01.
    """
    chain = Optimal(SCHEDULES[name])
    entropy = float(-(data_masses() * np.log2(data_masses())).sum())
    bound, cross = chain.bound(), chain.cross_entropy()
    assert entropy <= cross + 1e-9
    assert cross <= bound + 1e-9
    assert bound - entropy < 1e-3


def test_another_variance_loosens_the_bound() -> None:
    chain = Optimal(linear(50))
    best = chain.bound()
    true_share = chain.share
    for other in (lambda t: 0.0, lambda t: 1.0, lambda t: min(true_share(t) + 0.1, 1.0)):
        chain.share = other  # type: ignore[method-assign]
        assert chain.bound() > best + 1e-4


@pytest.mark.parametrize("t", [1, 2, 130, 400])
@pytest.mark.parametrize("prediction_type", ["epsilon", "x0", "v"])
def test_the_hybrid_loss_adds_the_unweighted_term_and_teaches_it_the_variance_alone(
    told: Callable[[Tensor], Any], prediction_type: Any, t: int
) -> None:
    schedule = linear(400)
    x0, noise = torch.rand(2, 3, 2, 2).double() * 2 - 1, torch.randn(2, 3, 2, 2).double()
    out = 0.3 * torch.randn(2, 6, 2, 2).double()
    if prediction_type == "x0":
        out[:, :3] = x0 + out[:, :3] / 20  # near it, else the mass at t = 1 is beyond float64
    out.requires_grad_()

    def silent(snr: Tensor, prediction_type: object) -> Tensor:
        return torch.zeros_like(snr)

    time, label = torch.full((2,), float(t)).double(), torch.zeros(2)
    make = {"prediction_type": prediction_type, "variance": "learned"}
    term = (
        DiscreteDenoiser(told(out), schedule, weighting=silent, **make).loss_at(x0, label, t=time, noise=noise).weighted
    )
    term.sum().backward()
    assert out.grad is not None
    assert not out.grad[:, :3].any()
    assert out.grad[:, 3:].all()
    assert torch.equal(out.grad[0] != 0, out.grad[1] != 0)
    whole = DiscreteDenoiser(told(out), schedule, weighting=lambda snr, _: 7 + 0 * snr, **make)
    loss = whole.loss_at(x0, label, t=time, noise=noise)
    torch.testing.assert_close(loss.weighted, 7 * loss.unweighted + term)
    before, now = bars_of(schedule, t)
    beta = 1 - now / before
    first, second = bars_of(schedule, max(t, 2))  # β̃_1 is 0, and β̃_2 stands for it
    tilde = (1 - second / first) * (1 - first) / (1 - second)
    x = math.sqrt(now) * x0 + math.sqrt(1 - now) * noise
    clean = whole(x, time, label).detach()
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


def test_a_network_of_the_wrong_width_is_named(told: Callable[[Tensor], Any]) -> None:
    x, t, label = torch.zeros(1, 3, 2, 2), torch.ones(1), torch.zeros(1)
    with pytest.raises(ValueError, match="answers 3 channels; variance 'learned' takes 6"):
        DiscreteDenoiser(told(x), linear(10), variance="learned").predict(x, t, label)
    with pytest.raises(ValueError, match="answers 6 channels; variance 'small' takes 3"):
        DiscreteDenoiser(told(torch.zeros(1, 6, 2, 2)), linear(10)).predict(x, t, label)


def test_a_share_is_in_its_range_when_predicted(told: Callable[[Tensor], Any]) -> None:
    out = torch.cat([torch.zeros(1, 3, 1, 3), torch.tensor([-1.5, 0.2, 1.5]).expand(1, 3, 1, 3)], dim=1)
    denoiser = DiscreteDenoiser(told(out), linear(10), variance="learned")
    found = denoiser.predict(torch.zeros(1, 3, 1, 3), torch.ones(1), torch.zeros(1)).variance_fraction
    assert found is not None
    assert found[0, 0, 0].tolist() == pytest.approx([0, 0.6, 1])
