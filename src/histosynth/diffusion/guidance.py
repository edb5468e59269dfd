"""Guidance: combine a denoiser and labels into the function that a sampler calls.

- Classifier-free guidance (Ho & Salimans 2022): x̂ = x̂_null + w (x̂_label - x̂_null); w = 1 is the conditional model.
- Guidance by a classifier of noisy images (Dhariwal & Nichol 2021): s times its gradient is added to the score,
  ∇ log p(x_t) + s ∇ log p(label | x_t). With Tweedie's x̂_0 = (x_t + σ² ∇ log p(x_t)) / α this is

    x̂ + s σ²/α ∇ log p(label | x_t).

  At pure noise (α = 0), where x_t carries no information on the label, nothing is added.
- Autoguidance (Karras et al. 2024, "Guiding a diffusion model with a bad version of itself"), here by the model's own
  averaged weights early in training: x̂ + (w - 1) (x̂_label - x̂_early), both under the same label. It points away from
  the errors that the two share and that training reduces.

All apply only at noise levels σ/α in (low, high]: guidance at high noise reduces diversity, at low noise it has no
effect (Kynkäänniemi et al. 2024). Outside the interval the conditional model is used alone, at one evaluation per call.
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
        """Compute ∇ log p(label | x_t) with respect to `x` (B, 3, S, S), at times `t` (B,), for `label` (B,)."""
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
    early: Denoiser | None = None,
    autoguidance: float = 1.0,
) -> Denoise:
    """Bind labels and guidance to a denoiser, for use by a sampler.

    Args:
        denoiser: the model.
        label: (B,) label of each image.
        guidance: w; values other than 0 and 1 cost a second evaluation (0: only the null label is evaluated).
        low: guide only above this noise level.
        high: guide only up to this noise level.
        clip: applied to the final x̂_0.
        classifier: classifier that guides as well; None: no classifier guidance.
        classifier_scale: s.
        early: worse version of the model that guides as well; None: no autoguidance.
        autoguidance: w of `early`; values other than 1 cost an evaluation of its network.

    Raises:
        ValueError: a label is invalid, or, when called, a shape or the time.
    """
    # Labels are on the device, and reading them waits for it: once here, not in each evaluation.
    denoiser.check_labels(label)
    null = torch.full_like(label, denoiser.null_label)

    def denoise(x: Tensor, t: Tensor) -> Prediction:
        # Classifier-free guidance
        denoiser.check_times(t[None])
        times = torch.full((len(x),), t.item(), dtype=t.dtype, device=x.device)
        denoiser.check_shapes(x, times, label)
        active = in_guidance_interval(denoiser.schedule, t, low=low, high=high)
        w = guidance if active else 1.0
        asked = null if w == 0 else label
        plain, variance_fraction = denoiser.evaluate(x, times, asked)
        clean = plain
        if w not in (0, 1):
            unconditional = denoiser.evaluate(x, times, null).clean
            clean = unconditional + w * (plain - unconditional)
        # Autoguidance
        if early is not None and autoguidance != 1 and active:
            clean = clean + (autoguidance - 1) * (plain - early.evaluate(x, times, asked).clean)
        # Guidance by a classifier
        if classifier is not None and active:
            alpha, sigma = denoiser.schedule.alpha(t), denoiser.schedule.sigma(t)
            if alpha > 0:
                clean = clean + classifier_scale * sigma**2 / alpha * classifier.gradient(x, times, label)
        return Prediction(clip(clean), variance_fraction)

    return denoise


def in_guidance_interval(schedule: Schedule, t: Tensor, *, low: float, high: float) -> bool:
    """Return whether the noise level at time `t` lies in (low, high]."""
    if low == 0 and high == math.inf:
        return True
    alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
    return low * alpha < sigma and (high == math.inf or sigma <= high * alpha)


def evaluations_per_call(
    schedule: Schedule, *, guidance: float, low: float, high: float, autoguidance: float = 1.0
) -> Callable[[Tensor], int]:
    """Return a function of time: the number of network evaluations that one call of the guided denoiser takes."""
    more = (guidance not in (0, 1)) + (autoguidance != 1)
    return lambda t: 1 + more if more and in_guidance_interval(schedule, t, low=low, high=high) else 1
