"""Between two images: their latents on the great circle, their labels by mixing what the denoiser says under each.

Spherical interpolation (Shoemake 1985) of latents a, b at angle θ keeps them as long as noise is, which the straight
line does not: halfway between independent latents it is shorter by √2, and images come out flat.

    a sin((1 - w) θ) / sin θ + b sin(w θ) / sin θ

A mixture (1 - w) x̂_a + w x̂_b of expectations is one of scores: at each noise level it belongs to the density
p_a^(1-w) p_b^w, normalized; the sequence of these is not exactly a diffusion process (Du et al. 2023). At w = 0 and 1
it is a and b.
"""

import torch
from torch import Tensor

from histosynth.diffusion.denoiser import Prediction
from histosynth.diffusion.samplers import Denoise


def slerp(a: Tensor, b: Tensor, *, weight: Tensor) -> Tensor:
    """Latents (B, ...) at `weight` (B,) of the way from `a` to `b`, both of one shape; at 0 and 1 they are a and b."""
    return torch.stack([_slerp(x, y, w) for x, y, w in zip(a, b, weight.tolist(), strict=True)])


def mix_denoisers(a: Denoise, b: Denoise, *, weight: Tensor) -> Denoise:
    """The denoiser that says (1 - w) of what `a` says and w of what `b` says; `weight` (B,), one an image."""
    share = weight[:, None, None, None]

    def denoise(x: Tensor, t: Tensor) -> Prediction:
        return Prediction(torch.lerp(a(x, t).clean, b(x, t).clean, share.to(x)))

    return denoise


def _slerp(a: Tensor, b: Tensor, weight: float) -> Tensor:
    if weight in (0, 1):
        return b if weight else a
    x, y = a.double(), b.double()
    cosine = (x * y).sum() / (x.norm() * y.norm())
    angle = cosine.clamp(-1, 1).arccos()
    if angle.sin() < 1e-6:  # one direction, or opposite ones, between which there is no one way
        return torch.lerp(a, b, weight)
    between: Tensor = (x * ((1 - weight) * angle).sin() + y * (weight * angle).sin()) / angle.sin()
    return between.to(a)
