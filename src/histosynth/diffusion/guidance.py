"""Classifier-free guidance: x̂ = x̂_null + w (x̂_label - x̂_null) (Ho & Salimans 2022). w = 1 is the conditional model."""

import torch
from torch import Tensor

from histosynth.diffusion.denoiser import Denoiser, Prediction
from histosynth.diffusion.samplers import Denoise


def guided(denoiser: Denoiser, label: Tensor, *, guidance: float = 1.0, clip: bool = True) -> Denoise:
    """Settle label and guidance of a denoiser, for a sampler.

    Args:
        denoiser: the model.
        label: (B,) label of each image.
        guidance: w; other than 1 it costs a second evaluation (0: only the null label is evaluated).
        clip: keep x̂_0 in [-1, 1]. The expectation of pixels in [-1, 1] lies there, so this only mends errors.
    """
    null = torch.full_like(label, denoiser.null_label)

    def denoise(x: Tensor, t: Tensor) -> Prediction:
        times = t.expand(len(x))
        clean, variance = denoiser.predict(x, times, null if guidance == 0 else label)
        if guidance not in (0, 1):
            unconditional: Tensor = denoiser(x, times, null)
            clean = unconditional + guidance * (clean - unconditional)
        return Prediction(clean.clamp(-1, 1) if clip else clean, variance)

    return denoise
