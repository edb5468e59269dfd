"""`Features`: (N, D) arrays of finite numbers, validated once, where they enter.

Every measure accepts an array or `Features`. It validates an array on entry and trusts `Features`, so features that go
into several measures are validated once:

    real, fake = Features.of(real_array, name="real features"), Features.of(fake_array, name="synthetic features")
    kid_interval(real, fake), membership(real, fake), ...
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from histosynth.errors import HistosynthError

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Features:
    """Validated features of N images. Build them with `of`; slices and concatenations need no second validation."""

    values: Floats
    """(N, D), read-only."""

    @classmethod
    def of(cls, features: "FeaturesLike", *, name: str = "features", remedy: str = "extract them again") -> "Features":
        """Validate an array; return `Features` unchanged. Values that are not floating-point become float64.

        Args:
            features: (N, D) values, or `Features`.
            name: what an error calls them, such as "real features".
            remedy: what an error suggests where values are not finite.

        Raises:
            HistosynthError: the shape is not (N, D), or values are not finite.
        """
        return features if isinstance(features, Features) else cls(_validated(features, name=name, remedy=remedy))

    @classmethod
    def concatenate(cls, parts: "Sequence[Features]") -> "Features":
        """Return the images of all parts, in their order."""
        return cls(_read_only(np.concatenate([part.values for part in parts])))

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: "slice | NDArray[np.integer[Any]] | NDArray[np.bool_]") -> "Features":
        """Return the features of these images."""
        return Features(_read_only(self.values[rows]))

    @property
    def dimension(self) -> int:
        """D, the number of features per image."""
        return int(self.values.shape[1])


FeaturesLike = Features | ArrayLike
"""What a measure accepts: `Features`, or an (N, D) array, which it validates."""


def features_of_both_sides(
    real: FeaturesLike, fake: FeaturesLike, *, minimum: int, purpose: str
) -> tuple[Features, Features]:
    """Return both sides as `Features` with `minimum` images or more and equally many features.

    Raises:
        HistosynthError: a side is not valid or has too few images for `purpose`, or the sides differ in D.
    """
    sides = Features.of(real, name="real features"), Features.of(fake, name="synthetic features")
    for side, name in zip(sides, ("real", "synthetic"), strict=True):
        require_images(side, minimum=minimum, purpose=purpose, side=name)
    require_equal_dimensions(sides[0].dimension, sides[1].dimension)
    return sides


def require_images(features: Features, *, minimum: int, purpose: str, side: str = "") -> None:
    """Raise HistosynthError if there are fewer than `minimum` images."""
    if len(features) < minimum:
        images = f"{side} images".strip()
        raise HistosynthError(f"{purpose} needs {minimum} or more {images}, found {len(features)}; add images")


def require_equal_dimensions(real: int, fake: int) -> None:
    """Raise HistosynthError if the numbers of features differ, as those of different extractors do."""
    if real != fake:
        raise HistosynthError(f"cannot compare {real} features with {fake}; extract both sides with the same extractor")


def _validated(features: ArrayLike, *, name: str, remedy: str) -> Floats:
    x = np.asarray(features)
    x = x if np.issubdtype(x.dtype, np.floating) else x.astype(np.float64)
    if x.ndim != 2:
        raise HistosynthError(f"the {name} must have the shape (images, features), found {x.shape}")
    invalid = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if len(invalid):
        raise HistosynthError(
            f"the {name} hold values that are not finite in {len(invalid)} of {len(x)} images (first: row "
            f"{invalid[0]}); {remedy}"
        )
    return _read_only(x)


def _read_only(values: Floats) -> Floats:
    view = values.view()
    view.flags.writeable = False
    return view
