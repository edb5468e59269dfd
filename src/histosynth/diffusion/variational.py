"""The terms of the variational bound on -log p(x_0) of a discrete process, in bits per dimension.

    L_T     = KL(q(x_T | x_0) || N(0, I))
    L_{t-1} = KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)),  1 < t <= T
    L_0     = -log p(x_0 | x_1), x_0 in 256 steps from -1 to 1: the mass of a Gaussian in a bin ("discretized decoder")

(Ho et al. 2020, eq. 5 and 13.)
p(x_{t-1} | x_t) is the posterior with x̂_0 in place of x_0 and a variance v between β̃_t of the posterior and β_t of the
forward step: log v = log β̃_t + fraction · (log β_t - log β̃_t) (Nichol & Dhariwal 2021, eq. 15). As in their code,
β̃_1 = 0 is replaced by β̃_2.
"""

import math

import torch
from torch import Tensor

from histosynth.diffusion.schedule import TimestepTable, VariancePreserving


class Posterior:
    """q(x_{t-1} | x_t, x_0) = N(x_coefficient · x_t + clean_coefficient · x_0, β̃_t), tables over t = 1 … T.

    (Ho et al. 2020, eq. 7.)
    """

    def __init__(self, schedule: VariancePreserving) -> None:
        before, now = schedule.alpha_bars[:-1], schedule.alpha_bars[1:]
        beta = 1 - now / before
        small = (1 - before) / (1 - now) * beta
        small[0] = small[1]
        self.x_coefficient = _table((now / before).sqrt() * (1 - before) / (1 - now))
        self.clean_coefficient = _table(before.sqrt() * beta / (1 - now))
        self.log_small = _table(small.log())
        self.log_large = _table(beta.log())


def step_bits_per_dim(
    posterior: Posterior, *, x0: Tensor, x: Tensor, t: Tensor, clean: Tensor, variance_fraction: Tensor
) -> Tensor:
    """Compute L_{t-1} of each image in bits per dimension, (B,).

    Args:
        posterior: posterior of the process.
        x0: (B, C, H, W) images in [-1, 1].
        x: noisy images at times `t` (B,).
        t: (B,) times.
        clean: x̂_0.
        variance_fraction: position of the log variance between small (0) and large (1).
    """

    def at(table: TimestepTable) -> Tensor:
        return table(t)[:, None, None, None]

    small, large = at(posterior.log_small), at(posterior.log_large)
    log_ratio = variance_fraction * (large - small)
    log_variance = small + log_ratio
    # Divergence of two Gaussians, for t > 1
    mean_error = at(posterior.clean_coefficient) * (clean - x0)
    kl = (log_ratio + torch.expm1(-log_ratio) + mean_error**2 * (-log_variance).exp()) / 2
    # Discretized decoder, for t = 1
    first = (t == 1)[:, None, None, None]
    mean = at(posterior.x_coefficient) * x + at(posterior.clean_coefficient) * clean
    mean = torch.where(first, mean, x0)  # x0 avoids an overflow
    nats = torch.where(first, -log_bin_mass(x0, mean=mean, log_variance=log_variance), kl)
    return nats.flatten(1).mean(1) / math.log(2)


def prior_bits_per_dim(schedule: VariancePreserving, x0: Tensor) -> Tensor:
    """Compute L_T of each image (B, C, H, W) in bits per dimension, (B,); 0 if the schedule ends without signal."""
    alpha2 = schedule.alpha_bars[-1].item()
    return (alpha2 * x0.flatten(1).square().mean(1) - alpha2 - math.log1p(-alpha2)) / 2 / math.log(2)


def log_bin_mass(x0: Tensor, *, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Compute the log mass of a Gaussian within half a step (1/255) of `x0`, elementwise; outermost bins are open."""
    scale = (-log_variance / 2).exp()
    upper, lower = (x0 + 1 / 255 - mean) * scale, (x0 - 1 / 255 - mean) * scale
    right = x0 > mean  # mirror the mass to the left tail, where a difference of logarithms is exact
    near, far = torch.where(right, -lower, upper), torch.where(right, -upper, lower)
    log_near, log_far = torch.special.log_ndtr(near), torch.special.log_ndtr(far)
    inside = log_near + torch.log(-torch.expm1((log_far - log_near).clamp(max=-1e-6)))
    lowest, highest = x0 < -1 + 1 / 255, x0 > 1 - 1 / 255
    outer = torch.special.log_ndtr(torch.where(lowest, upper, -lower))
    return torch.where(lowest | highest, outer, inside)


def _table(values: Tensor) -> TimestepTable:
    """Build a table from (T,) values of t = 1 … T; the value of t = 0 is never used."""
    return TimestepTable(torch.cat([values.new_zeros(1), values]))
