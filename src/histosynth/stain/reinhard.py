"""Reinhard color normalization (Reinhard et al., "Color transfer between images", IEEE CG&A 21, 2001), in CIELAB.

Each channel is shifted and scaled so that its mean and standard deviation are those of a target:

    x' = mean' + (std' / std) (x - mean).

The paper uses its own color space (l alpha beta); pathology tools use CIELAB, and so does this module. Other tools fit
and map all pixels, so that the share of glass in a tile affects its colors, and white acquires a tint. Here the fit is
of tissue alone, and toward glass the map approaches the identity: with a share w that falls from 1 at L* = 85 to 0 at
L* = 95,

    a' = w mean' + (std' / std)^w (a - w mean),   b' likewise,

and L* follows its line up to the lightness at which either slide reaches 85, and then a straight line to 95. The order
of lightness is thus preserved, nothing saturates to white, and exchanging the fits inverts the map exactly. In real
tiles of five sources, 99 % of the tissue pixels have L* below 85.5, and half of the glass lies above 89 to 96; dull
glass below 95 retains some tint.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from histosynth.stain.lab import BLOCK, to_lab, to_rgb
from histosynth.stain.normalizer import StainError, normalizers

MIN_PIXELS = 200
"""Minimum number of tissue pixels."""
MIN_STD = 0.5
"""Minimum standard deviation of each channel; rounding to 8 bits gives a uniform color about 0.3."""
HUES_DEG = (-85.0, 30.0)
"""Range of the hue of the mean color, from violet to red. 266 real tiles lie between -73 and 16; DAB brown, green and
yellow ink lie outside the range, blue ink inside."""
MIN_CHROMA = 6.0
"""Minimum chroma of the mean color; grayer colors are pigment, soot or black ink. Real tiles have 14 or more."""
_BLACK = 3.0  # about level 11 of 255
_TISSUE, _GLASS = 85.0, 95.0  # L* at which the map begins to fade, and at which it is the identity

Color = tuple[float, float, float]


@dataclass(frozen=True)
class LabFit:
    """Colors of the tissue of a slide.

    Attributes:
        mean: of L*, a* and b*.
        std: standard deviation of each.
        pixels: number of tissue pixels of the estimate.
    """

    mean: Color
    std: Color
    pixels: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Restore a fit from `to_dict`, also after conversion to JSON and back; other keys are ignored."""
        return cls(mean=tuple(content["mean"]), std=tuple(content["std"]), pixels=content["pixels"])

    @classmethod
    def median(cls, fits: Sequence["LabFit"]) -> "LabFit":
        """Return the median of several fits, number by number; pixels are summed."""
        mean, std = np.median([(fit.mean, fit.std) for fit in fits], axis=0)
        return cls(mean=_round(mean), std=_round(std), pixels=sum(fit.pixels for fit in fits))


TARGET = LabFit(mean=(60.6849, 21.3149, -9.3351), std=(14.7035, 5.6613, 5.916), pixels=0)
"""Real tissue in the colors of the target of `two_stains`: the median of the fits of 265 tiles (24 of TCGA-LGG, 10 of
CPM-15, 2 of PathomicFusion, 70 of CRC-VAL-HE-7K, 100 of LC25000, 59 of osteosarcoma) after `Macenko().apply`."""


@dataclass(frozen=True)
class Reinhard:
    """Reinhard normalization to a target fit."""

    target: LabFit = TARGET

    def estimate(self, pixels: NDArray[np.uint8]) -> LabFit:
        """Return mean and standard deviation of the pooled tissue pixels of a slide, (N, 3). One stain is sufficient.

        Raises:
            StainError: "too-few-pixels", "black", "uniform" or "foreign-color".
        """
        count = len(pixels)
        if count < MIN_PIXELS:
            raise StainError("too-few-pixels")
        # Sums of values and squares around an origin near the mean, so that float32 loses little precision.
        sample = pixels[:: -(-count // 1000)]
        origin = to_lab(sample).mean(axis=1, keepdims=True)
        sums, black = np.zeros((2, 3)), 0
        for start in range(0, count, BLOCK):
            lab = to_lab(pixels[start : start + BLOCK])
            black += int(np.count_nonzero(lab[0] < _BLACK))
            lab -= origin
            sums += lab.sum(axis=1), [channel @ channel for channel in lab]
        if black > 0.5 * count:
            raise StainError("black")
        offset, square = sums / count
        mean, std = origin[:, 0] + offset, np.sqrt(np.maximum(square - offset**2, 0))
        if std.min() < MIN_STD:
            raise StainError("uniform")
        hue_deg, chroma = np.degrees(np.arctan2(mean[2], mean[1])), np.hypot(mean[1], mean[2])
        if chroma < MIN_CHROMA or not HUES_DEG[0] < hue_deg < HUES_DEG[1]:
            raise StainError("foreign-color")
        return LabFit(mean=_round(mean), std=_round(std), pixels=count)

    def with_target(self, fits: Sequence[LabFit]) -> Self:
        """Return this method with the median of these fits as its target."""
        return replace(self, target=LabFit.median(fits))

    def apply(self, image: NDArray[np.uint8], fit: LabFit | None) -> NDArray[np.uint8]:
        """Return the image, (..., 3), in the colors of the target; unchanged if `fit` is None."""
        return image if fit is None else transfer_colors(image, fit, self.target)

    def invert(self, image: NDArray[np.uint8], fit: LabFit | None) -> NDArray[np.uint8]:
        """Return an image in the target's colors, (..., 3), in those of the slide; clipped values are not recovered."""
        return image if fit is None else transfer_colors(image, self.target, fit)


normalizers.register("reinhard")(Reinhard())


def transfer_colors(image: NDArray[np.uint8], source: LabFit, target: LabFit) -> NDArray[np.uint8]:
    """Map an image, (..., 3), from the colors of one fit to those of another by the equations above, block by block."""
    pixels = np.ascontiguousarray(image).reshape(-1, 3)
    mapped = np.empty_like(pixels)
    for start in range(0, len(pixels), BLOCK):
        lab = to_lab(pixels[start : start + BLOCK])
        transfer_lab(lab, source, target)
        mapped[start : start + BLOCK] = to_rgb(lab)
    return mapped.reshape(image.shape)


def transfer_lab(lab: NDArray[np.float32], source: LabFit, target: LabFit) -> None:
    """Apply the equations above to L*, a* and b* as rows, (3, N), in place."""
    ratio = target.std[0] / source.std[0]
    bend = min(_TISSUE, source.mean[0] + (_TISSUE - target.mean[0]) / ratio)
    bend_to = target.mean[0] + (bend - source.mean[0]) * ratio
    lightness, color = lab[0], lab[1:]
    share = np.clip((_GLASS - lightness) / (_GLASS - bend), 0, 1)
    color -= share * _column(source.mean)
    color *= np.exp2(share * _column(np.log2(np.divide(target.std, source.std))))
    color += share * _column(target.mean)
    dark = np.minimum(lightness - bend, 0)
    dark *= ratio
    np.maximum(lightness, _GLASS, out=lightness)
    lightness += dark
    share *= _GLASS - bend_to
    lightness -= share


def _column(color: ArrayLike) -> NDArray[np.float32]:
    """Return the values of a* and b* as a column, (2, 1)."""
    return np.array(color, np.float32)[1:, None]


def _round(color: NDArray[np.floating]) -> Color:
    """Round to six decimals: the last bits depend on the CPU, the image must not."""
    lightness, a, b = (round(float(value), 6) for value in color)
    return lightness, a, b
