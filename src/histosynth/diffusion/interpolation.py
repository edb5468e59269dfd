"""Interpolation between two images: spherical between latents, linear between the predictions for two labels.

Spherical interpolation (Shoemake 1985) of latents a, b at angle θ keeps the norm of standard normal noise. Linear
interpolation does not: halfway between independent latents the norm is smaller by √2, and images lack contrast.

    a sin((1 - w) θ) / sin θ + b sin(w θ) / sin θ

A mixture (1 - w) x̂_a + w x̂_b of expectations is a mixture of scores: at each noise level it belongs to the normalized
density p_a^(1-w) p_b^w. The sequence of these densities is not exactly a diffusion process (Du et al. 2023). At w = 0
and 1 the mixture equals a and b.
"""

import torch
from torch import Tensor

from histosynth.diffusion.denoiser import Prediction
from histosynth.diffusion.samplers import Denoise


def slerp(a: Tensor, b: Tensor, *, weight: Tensor) -> Tensor:
    """Interpolate latents (B, ...) from `a` (weight 0) to `b` (weight 1), one `weight` (B,) each; exact at 0 and 1."""
    return torch.stack([_slerp(x, y, w) for x, y, w in zip(a, b, weight.tolist(), strict=True)])


def mix_denoisers(a: Denoise, b: Denoise, *, weight: Tensor) -> Denoise:
    """Return a denoiser that predicts (1 - w) x̂_a + w x̂_b; `weight` (B,), one per image."""
    w = weight[:, None, None, None]

    def denoise(x: Tensor, t: Tensor) -> Prediction:
        return Prediction(torch.lerp(a(x, t).clean, b(x, t).clean, w.to(x)))

    return denoise


def _slerp(a: Tensor, b: Tensor, weight: float) -> Tensor:
    if weight in (0, 1):
        return b if weight else a
    x, y = a.double(), b.double()
    cosine = (x * y).sum() / (x.norm() * y.norm())
    angle = cosine.clamp(-1, 1).arccos()
    if angle.sin() < 1e-6:  # equal directions, or opposite ones, between which the great circle is not unique
        return torch.lerp(a, b, weight)
    result: Tensor = (x * ((1 - weight) * angle).sin() + y * (weight * angle).sin()) / angle.sin()
    return result.to(a)
