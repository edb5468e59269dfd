"""Stain normalization as one idea: estimate a fit from pooled tissue pixels of a slide, then apply it to each image.

A fit that cannot be had is a defined outcome, not a failure in silence: `estimate` raises `StainError` with a reason,
the caller records `skipped:<reason>`, and `apply` with no fit returns the image as it is.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from histosynth.registry import Registry


class StainError(Exception):
    """The stains cannot be told from these pixels. Its text is the reason, one of `REASONS`."""


REASONS = {
    "too-few-pixels": "fewer pixels with stain than an estimate needs: a blank or nearly blank slide",
    "uniform": "pixels of one color: nothing tells the stains apart",
    "black": "most of the pixels are black: their color is lost",
    "one-stain": "the stain vectors found are nearly parallel: one stain only",
}


@dataclass(frozen=True)
class StainFit:
    """How a slide is stained.

    Attributes:
        stains: unit vectors in optical density (red, green, blue), hematoxylin first, then eosin.
        max_concentrations: 99th percentile of the concentration of each.
        pixels: number of pixels with stain that the estimate rests on.
        angle_deg: angle between the stain vectors, in degrees.
        residual: root mean square of the optical density that the two stains leave unexplained.
    """

    stains: tuple[tuple[float, float, float], tuple[float, float, float]]
    max_concentrations: tuple[float, float]
    pixels: int
    angle_deg: float
    residual: float

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers and lists, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote, also after a way through JSON."""
        hematoxylin, eosin = content["stains"]
        first, second = content["max_concentrations"]
        return cls(
            stains=(tuple(hematoxylin), tuple(eosin)),
            max_concentrations=(first, second),
            pixels=content["pixels"],
            angle_deg=content["angle_deg"],
            residual=content["residual"],
        )


class StainNormalizer(Protocol):
    """Brings the colors of a slide to those of a target. Deterministic."""

    def estimate(self, pixels: NDArray[np.uint8]) -> StainFit | None:
        """The fit of a slide from its pooled tissue pixels, (N, 3); None if the method needs none.

        Raises:
            StainError: the pixels do not allow it.
        """
        ...

    def apply(self, image: NDArray[np.uint8], fit: StainFit | None) -> NDArray[np.uint8]:
        """The image, (H, W, 3), in the colors of the target; unchanged where `fit` is None."""
        ...


normalizers: Registry[StainNormalizer] = Registry("normalizer")
"""Normalizers by name."""


class Unchanged:
    """No normalization: raw colors."""

    def estimate(self, pixels: NDArray[np.uint8]) -> None:
        """Nothing to estimate."""

    def apply(self, image: NDArray[np.uint8], fit: StainFit | None) -> NDArray[np.uint8]:
        """The image itself."""
        return image


normalizers.register("none")(Unchanged())
