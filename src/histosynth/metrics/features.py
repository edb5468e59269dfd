"""Features as the measures take them: (N, D) arrays of finite numbers, checked once, with the side at fault named."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from histosynth.errors import HistosynthError

Floats = NDArray[np.floating[Any]]


def feature_array(features: ArrayLike, *, name: str, least: int, reason: str) -> Floats:
    """Features (N, D) as they are, or as float64 where they are no floating-point numbers.

    Raises:
        HistosynthError: not (N, D), fewer than `least` rows (which `reason` explains), or values that are not finite.
    """
    x = np.asarray(features)
    x = x if np.issubdtype(x.dtype, np.floating) else x.astype(np.float64)
    if x.ndim != 2:
        raise HistosynthError(f"the {name} features must have the shape (images, features), found {x.shape}")
    if len(x) < least:
        raise HistosynthError(f"{reason} needs {least} or more {name} images, found {len(x)}; add images")
    bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if len(bad):
        raise HistosynthError(
            f"the {name} features hold values that are not finite in {len(bad)} of {len(x)} images (first: row "
            f"{bad[0]}); extract them again"
        )
    return x


def feature_pair(real: ArrayLike, fake: ArrayLike, *, least: int, reason: str) -> tuple[Floats, Floats]:
    """Both sides, each checked, and of equally many features.

    Raises:
        HistosynthError: as `feature_array`, or the two have different numbers of features.
    """
    a = feature_array(real, name="real", least=least, reason=reason)
    b = feature_array(fake, name="synthetic", least=least, reason=reason)
    check_dimensions(a.shape[1], b.shape[1])
    return a, b


def check_dimensions(real: int, fake: int) -> None:
    """Refuse sides of different numbers of features: they come from different extractors."""
    if real != fake:
        raise HistosynthError(f"cannot compare {real} features with {fake}; extract both sides with the same extractor")
