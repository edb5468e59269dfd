"""Clipping of predicted images to [-1, 1], the range of any expectation of pixels in [-1, 1]."""

import math
from collections.abc import Callable
from typing import Literal

from torch import Tensor

Clip = Callable[[Tensor], Tensor]
"""A map of (B, 3, S, S) to the same shape."""


def clamp(clean: Tensor) -> Tensor:
    """Clamp values to [-1, 1]."""
    return clean.clamp(-1, 1)


def no_clipping(clean: Tensor) -> Tensor:
    """Return the image unchanged."""
    return clean


def dynamic_thresholding(percentile: float) -> Clip:
    """Build dynamic thresholding: clamp to ±s, then divide by s, a percentile of |x̂_0| per image, at least 1.

    Strong guidance drives whole regions beyond 1, which clamping would saturate (Saharia et al. 2022, section 2.3).

    Args:
        percentile: percentage of the values that do not exceed s.
    """

    def clip(clean: Tensor) -> Tensor:
        values = clean.abs().flatten(1)
        rank = max(math.ceil(values.shape[1] * percentile / 100), 1)
        # Sorted, because `kthvalue` has no deterministic algorithm on a GPU.
        s = values.sort(dim=1).values[:, rank - 1].clamp(min=1)[:, None, None, None]
        return clean.clamp(-s, s) / s

    return clip


def build_clip(kind: Literal["clamp", "dynamic", "none"], *, percentile: float) -> Clip:
    """Return the clipping selected by `sample.clip`; only `dynamic` uses `percentile`."""
    return {"clamp": clamp, "dynamic": dynamic_thresholding(percentile), "none": no_clipping}[kind]
