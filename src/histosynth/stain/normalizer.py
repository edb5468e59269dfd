"""Stain normalization as one idea: estimate a fit from the pooled tissue pixels of a slide, apply it to each image.

A fit that cannot be had is a defined outcome, not a failure in silence: `estimate` raises `StainError` with a reason,
the caller records `skipped:<reason>`, and `apply` with no fit returns the image as it is.
"""

from collections.abc import Sequence
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from histosynth.registry import Registry
from histosynth.stain.optical_density import min_channel, to_density

GLASS_DENSITY = 0.15
"""Paler than this in every channel is glass."""
_LEVELS = np.arange(256, dtype=np.uint8)
_GLASS = int(_LEVELS[to_density(_LEVELS) < GLASS_DENSITY].min())  # all channels at this level or above


class StainError(Exception):
    """The stains cannot be told from these pixels. Its text is the reason, one of `REASONS`."""


REASONS = {
    "too-few-pixels": "fewer pixels with stain than an estimate needs: a blank or nearly blank image",
    "uniform": "pixels of one color: nothing tells the stains apart",
    "black": "most of the pixels are black: their color is lost",
    "one-stain": "the stain vectors found are nearly parallel: one stain only",
    "erases-tissue": "the stains found would turn stained tissue into glass: at least one of them is not there",
    "foreign-color": "colors that hematoxylin and eosin do not make: ink, pigment, another stain",
}


class Fit(Protocol):
    """How a slide is stained, as one method sees it."""

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers and lists, for JSON."""
        ...


class StainNormalizer(Protocol):
    """Brings the colors of a slide to those of a target. Deterministic and immutable."""

    @property
    def target(self) -> Fit | None:
        """The fit whose colors `apply` gives; None where the method has no target."""
        ...

    def estimate(self, pixels: NDArray[np.uint8]) -> Fit | None:
        """The fit of a slide from its pooled tissue pixels, (N, 3); None if the method needs none.

        Raises:
            StainError: the pixels do not allow it.
        """
        ...

    def with_target(self, fits: Sequence[Any]) -> Self:
        """This normalizer with another target: the median of these fits."""
        ...

    def apply(self, image: NDArray[np.uint8], fit: Any) -> NDArray[np.uint8]:
        """The image, (..., 3), in the colors of the target; unchanged where `fit` is None."""
        ...

    def invert(self, image: NDArray[np.uint8], fit: Any) -> NDArray[np.uint8]:
        """An image in the colors of the target, (..., 3), in those of the slide; what `apply` clipped stays lost."""
        ...


normalizers: Registry[StainNormalizer] = Registry("normalizer")
"""Normalizers by name."""


def is_tissue(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of (N, 3) pixels are no glass.

    The densest channel is the darkest one: a density falls as its pixel value rises.
    """
    tissue: NDArray[np.bool_] = min_channel(pixels) < _GLASS
    return tissue


def tissue_pixels(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Those of (N, 3) pixels that are no glass: the ones to estimate from."""
    return np.compress(is_tissue(pixels), pixels, axis=0)


def fit(normalizer: StainNormalizer, reference: NDArray[np.uint8]) -> StainNormalizer:
    """The normalizer with the colors of a reference image, (..., 3), for its target.

    Raises:
        StainError: the reference does not allow it.
    """
    found = normalizer.estimate(tissue_pixels(np.ascontiguousarray(reference).reshape(-1, 3)))
    return normalizer if found is None else normalizer.with_target([found])


class NoNormalization:
    """No normalization: raw colors."""

    target = None

    def estimate(self, pixels: NDArray[np.uint8]) -> None:
        """Nothing to estimate."""

    def with_target(self, fits: Sequence[Any]) -> Self:
        """Itself: there is no target."""
        return self

    def apply(self, image: NDArray[np.uint8], fit: Any) -> NDArray[np.uint8]:
        """The image itself."""
        return image

    def invert(self, image: NDArray[np.uint8], fit: Any) -> NDArray[np.uint8]:
        """The image itself."""
        return image


normalizers.register("none")(NoNormalization())
