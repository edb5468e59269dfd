"""Guidance: what turns a denoiser and labels into that which a sampler asks.

- Classifier-free (Ho & Salimans 2022): x̂ = x̂_null + w (x̂_label - x̂_null); w = 1 is the conditional model.
- By a classifier of noisy images (Dhariwal & Nichol 2021): its gradient is added to the score s times,
  ∇ log p(x_t) + s ∇ log p(label | x_t); with Tweedie's x̂_0 = (x_t + σ² ∇ log p(x_t)) / α that is

    x̂ + s σ²/α ∇ log p(label | x_t),

  and nothing at pure noise (α = 0), of which a classifier knows no more than anyone.

Both only where the noise level σ/α lies in (low, high]: guidance at much noise costs diversity, at little it
does nothing
(Kynkäänniemi et al. 2024). Outside, the conditional model stands alone, and costs one evaluation.
"""

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from histosynth.diffusion.denoiser import Denoiser, Prediction
from histosynth.diffusion.samplers import Denoise
from histosynth.diffusion.schedule import Schedule
from histosynth.diffusion.thresholding import Clip, clamp


class GuidingClassifier(Protocol):
    """A classifier of noisy images, such as `noisy_classifier.NoisyClassifier`."""

    def gradient(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """∇ log p(label | x_t) with respect to `x` (B, 3, S, S), at times `t` (B,), for `label` (B,)."""
        ...


def guided_denoiser(
    denoiser: Denoiser,
    label: Tensor,
    *,
    guidance: float = 1.0,
    low: float = 0.0,
    high: float = math.inf,
    clip: Clip = clamp,
    classifier: GuidingClassifier | None = None,
    classifier_scale: float = 1.0,
) -> Denoise:
    """Settle label and guidance of a denoiser, for a sampler.

    Args:
        denoiser: the model.
        label: (B,) label of each image.
        guidance: w; other than 1 it costs a second evaluation (0: only the null label is evaluated).
        low: guide above this noise level.
        high: guide up to this noise level.
        clip: what is done to x̂_0 at last.
        classifier: guides too; none: it does not.
        classifier_scale: s.
    """
    null = torch.full_like(label, denoiser.null_label)

    def denoise(x: Tensor, t: Tensor) -> Prediction:
        times = t.expand(len(x))
        inside = in_guidance_interval(denoiser.schedule, t, low=low, high=high)
        w = guidance if inside else 1.0
        clean, variance = denoiser.predict(x, times, null if w == 0 else label)
        if w not in (0, 1):
            unconditional: Tensor = denoiser(x, times, null)
            clean = unconditional + w * (clean - unconditional)
        if classifier is not None and inside:
            alpha, sigma = denoiser.schedule.alpha(t), denoiser.schedule.sigma(t)
            if alpha > 0:
                clean = clean + classifier_scale * sigma**2 / alpha * classifier.gradient(x, times, label)
        return Prediction(clip(clean), variance)

    return denoise


def in_guidance_interval(schedule: Schedule, t: Tensor, *, low: float, high: float) -> bool:
    """Whether the noise level at time `t` lies in (low, high]."""
    if low == 0 and high == math.inf:
        return True  # without asking the device
    alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
    return low * alpha < sigma and (high == math.inf or sigma <= high * alpha)


def evaluations_per_call(schedule: Schedule, *, guidance: float, low: float, high: float) -> Callable[[Tensor], int]:
    """How many network evaluations denoising takes at a time."""
    return lambda t: 2 if guidance not in (0, 1) and in_guidance_interval(schedule, t, low=low, high=high) else 1
