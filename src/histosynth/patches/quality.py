"""Quality control of a region: the first flaw found, or none. Each measure is a pure function of the pixels.

All measures use one pixel per micron, sampled from the region and not averaged, so that scanners of different
resolution are treated equally and a region takes a fraction of a millisecond. The flaws, in the order of the checks:

    near_blank     the standard deviation of green is below 3 of 255, or glass covers more than 0.95
    overexposed    more than 0.75 of the region is saturated white (254 and above in every channel)
    underexposed   less than 0.01 of the region is brighter than 100 of 255 in any channel
    pen            ink (`slides.ink`, on blocks of 8 um) covers more than `patches.max_ink`
    dark_line      a thin gray or black line, such as the edge of a coverslip, runs through 0.6 of the region or more
    blurred        the sharpness is below `patches.min_sharpness`

Sharpness is the energy of differences over 1 um divided by that over 4 um, each reduced by ν, the contribution of noise
of one level in 255: S = (E[Δ₁²] - ν) / (E[Δ₄²] - ν) in green. It is 1/16 or less for a smooth slope, 1 for white noise,
and hardly depends on the amount or intensity of the stain. `benchmarks/data/patch_quality.py` reports the effect of the
thresholds on real tissue and on the same tissue blurred.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from histosynth.config import PatchSettings
from histosynth.slides.ink import is_ink

FLAWS = ("near_blank", "overexposed", "underexposed", "pen", "dark_line", "blurred")
"""Names of the flaws, in the order of the checks."""

_PITCH_UM = 1.0
_BLOCK = 8
_WHITE = 240  # level of glass, where optical density is 0
_DENSITY = np.log((_WHITE + 1) / (np.minimum(np.arange(256), _WHITE) + 1)).astype(np.float32)
_GLASS_DENSITY = 0.1
_FAR = 4
_NOISE_ENERGY = 4.0  # of noise of standard deviation 1: twice its variance, vertically and horizontally


def find_flaw(region: NDArray[np.uint8], *, mpp: float, settings: PatchSettings) -> str | None:
    """Return the first of `FLAWS` that a region (H, W, 3) at `mpp` microns per pixel has, or None."""
    points = sample_lattice(region, mpp=mpp)
    if _standard_deviation(points[..., 1]) < 3 or glass_share(points) > 0.95:
        return "near_blank"
    if clipped_share(points) > 0.75:
        return "overexposed"
    if bright_share(points) < 0.01:
        return "underexposed"
    if ink_share(points) > settings.max_ink:
        return "pen"
    if line_length(points) >= 0.6:
        return "dark_line"
    return "blurred" if sharpness(points) < settings.min_sharpness else None


def sample_lattice(region: NDArray[np.uint8], *, mpp: float) -> NDArray[np.uint8]:
    """Return pixels of a region about one micron apart, or all pixels if the region is coarser."""
    step = max(1, round(_PITCH_UM / mpp))
    return np.ascontiguousarray(region[::step, ::step])


def sharpness(points: NDArray[np.uint8]) -> float:
    """Return (E[Δ₁²] - ν) / (E[Δ₄²] - ν) in green; 0 for noise alone, 1 for too few points to decide."""
    green = points[..., 1].astype(np.float32)
    if min(green.shape) <= 2 * _FAR:
        return 1.0
    near, far = (_difference_energy(green, distance) - _NOISE_ENERGY for distance in (1, _FAR))
    return max(near, 0.0) / far if far > 0 else 0.0


def _difference_energy(image: NDArray[np.float32], distance: int) -> float:
    down, across = image[distance:] - image[:-distance], image[:, distance:] - image[:, :-distance]
    return float(np.vdot(down, down) / down.size + np.vdot(across, across) / across.size)


def _standard_deviation(channel: NDArray[np.uint8]) -> float:
    """Return the standard deviation, in float32."""
    centered = channel - channel.mean(dtype=np.float32)
    return float(np.sqrt(np.vdot(centered, centered) / centered.size))


def _share(chosen: NDArray[np.bool_]) -> float:
    return int(np.count_nonzero(chosen)) / chosen.size


def ink_share(points: NDArray[np.uint8]) -> float:
    """Return the share of the blocks of 8 x 8 points whose mean color is ink."""
    size = min(_BLOCK, *points.shape[:2])
    height, width = (side // size * size for side in points.shape[:2])
    blocks = np.asarray(Image.fromarray(points[:height, :width]).reduce(size))
    return _share(is_ink(_density(blocks)))


def line_length(points: NDArray[np.uint8]) -> float:
    """Return the extent of the longest thin connected gray or black component, as a share of the side, in [0, 1].

    Gray: every density is above 0.3, the smallest above 0.7 of the largest; nuclei and folds are colored. Thin: the
    component covers at most a fifth of the region.
    """
    side = min(points.shape[:2])
    lowest, highest = _lowest(points), _highest(points)
    dark = highest < _WHITE * np.exp(-0.3)
    if np.count_nonzero(dark) < side // 2:
        return 0.0
    gray = dark & (_density(highest) > np.float32(0.7) * _density(lowest))
    if np.count_nonzero(gray) < side // 2:
        return 0.0
    labels, _ = ndimage.label(gray, structure=np.ones((3, 3)))
    sizes: list[int] = np.bincount(labels.ravel())[1:].tolist()
    lengths: list[int] = [max(s.stop - s.start for s in slices) for slices in ndimage.find_objects(labels)]
    thin = [length for length, size in zip(lengths, sizes, strict=True) if size <= 0.2 * gray.size]
    return float(max(thin, default=0) / max(gray.shape))


def glass_share(points: NDArray[np.uint8]) -> float:
    """Return the share of points that no stain darkens."""
    return _share(_lowest(points) > _WHITE * np.exp(-_GLASS_DENSITY))


def clipped_share(points: NDArray[np.uint8]) -> float:
    """Return the share of points at the upper limit in every channel."""
    return _share(_lowest(points) >= 254)


def bright_share(points: NDArray[np.uint8]) -> float:
    """Return the share of points brighter than 100 of 255 in any channel."""
    return _share(_highest(points) > 100)


def _lowest(points: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.minimum(np.minimum(points[..., 0], points[..., 1]), points[..., 2])


def _highest(points: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.maximum(np.maximum(points[..., 0], points[..., 1]), points[..., 2])


def _density(color: NDArray[np.uint8]) -> NDArray[np.float32]:
    density: NDArray[np.float32] = np.take(_DENSITY, color)
    return density
