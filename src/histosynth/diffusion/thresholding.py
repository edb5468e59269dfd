"""What keeps a predicted image in [-1, 1], where the expectation of pixels in [-1, 1] lies."""

import math
from collections.abc import Callable
from typing import Literal

from torch import Tensor

Clip = Callable[[Tensor], Tensor]
"""(B, 3, S, S) -> the same shape."""


def clamp(clean: Tensor) -> Tensor:
    """Cut off what lies outside."""
    return clean.clamp(-1, 1)


def no_clipping(clean: Tensor) -> Tensor:
    """Leave it."""
    return clean


def dynamic_thresholding(percentile: float) -> Clip:
    """Dynamic thresholding: s is a percentile of an image's |x̂_0|, but at least 1; cut off at ±s, then divide by s.

    Strong guidance drives whole regions beyond 1, which clamping would saturate (Saharia et al. 2022, section 2.3).

    Args:
        percentile: share of the values that may not exceed s, in percent.
    """

    def clip(clean: Tensor) -> Tensor:
        values = clean.abs().flatten(1)
        rank = max(math.ceil(values.shape[1] * percentile / 100), 1)
        s = values.kthvalue(rank, dim=1).values.clamp(min=1)[:, None, None, None]
        return clean.clamp(-s, s) / s

    return clip


def build_clip(kind: Literal["clamp", "dynamic", "none"], *, percentile: float) -> Clip:
    """What `sample.clip` names; `percentile` is for `dynamic` alone."""
    return {"clamp": clamp, "dynamic": dynamic_thresholding(percentile), "none": no_clipping}[kind]
