"""Two-stain normalization of batches on any device: pixels are processed in torch, the few fitted numbers in NumPy.

The equations are those of `two_stains` and `macenko`; decisions on the fitted numbers use their code and thresholds.
Reductions over pixels are defined so that neither the order of the pixels, nor the other images of the batch, nor the
device can change a bit of a fit:

- sums are of integers, densities in steps of 2^-16, so that they are exact (and need no float64 on the device);
- projections are single products and sums in float32, never a matrix product, whose order depends on the device;
- percentiles are selected values. Angles are selected by the diamond angle y / (|x| + |y|), which increases with the
  angle and needs no trigonometry; only selected values are converted to angles, before NumPy's linear interpolation.

Normalized images may differ by one level between devices, since their exponential functions differ. On a CPU the NumPy
backend is faster (`benchmarks/data/stain_backends.py`); this backend is for accelerators.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations_with_replacement
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from histosynth.errors import HistosynthError
from histosynth.stain.macenko import ALPHA, Macenko, directions_at, principal_plane
from histosynth.stain.normalizer import GLASS_DENSITY, StainError, StainNormalizer, tissue_pixels
from histosynth.stain.optical_density import I0, to_density
from histosynth.stain.two_stains import (
    BETA,
    BLACK_DENSITY,
    DENSE,
    TARGET,
    TOP_PERCENT,
    StainFit,
    TwoStains,
    normalization_matrix,
    order_stains,
    plane_normal,
    require_enough_stain,
    require_tissue_kept,
    unmixing_matrix,
    validated_fit,
)

Result = TypeVar("Result")
_CHUNK = 2**22  # pixels at a time: less than half a GB
_TINY = 1e-30
_STEPS = 2**16  # per unit of density; sums of squares of 7e7 pixels still fit into 64 bits


def estimate_batch(images: NDArray[np.uint8], *, normalizer: StainNormalizer, device: str) -> list[StainFit | str]:
    """Return a fit for each image of (B, H, W, 3), or the reason, one of `REASONS`, for which it has none.

    Macenko fits are computed on the device; those of other two-stain methods are not.

    Raises:
        HistosynthError: the normalizer is not a two-stain method.
    """
    two_stains = _two_stains(normalizer)
    if isinstance(two_stains, Macenko):
        return estimate_macenko(torch.tensor(images, device=device))
    reasons: dict[int, str] = {}
    fits = _try_each(
        range(len(images)), lambda k: two_stains.estimate(tissue_pixels(images[k].reshape(-1, 3))), reasons
    )
    return [fits.get(k) or reasons[k] for k in range(len(images))]


def normalize_batch(
    images: NDArray[np.uint8], *, normalizer: StainNormalizer, fits: Sequence[StainFit | None], device: str
) -> NDArray[np.uint8]:
    """Return images (B, H, W, 3) in the colors of the target, within one level of `normalizer.apply`.

    Args:
        images: 8-bit pixels.
        normalizer: a two-stain method; its target defines the colors.
        fits: one per image; images with None remain unchanged.
        device: device of the computation, such as `cuda`.

    Raises:
        HistosynthError: the normalizer is not a two-stain method.
    """
    target = _two_stains(normalizer).target
    rows = [k for k, fit in enumerate(fits) if fit is not None]
    normalized = np.array(images)
    if rows:
        matrices = np.stack([normalization_matrix(fit, target) for fit in fits if fit is not None])
        mixed = apply(torch.from_numpy(normalized[rows]).to(device), torch.from_numpy(matrices))
        normalized[rows] = mixed.cpu().numpy()
    return normalized


def require_device(device: str, *, normalizer: StainNormalizer) -> None:
    """Raise if this backend cannot be used.

    Raises:
        HistosynthError: the device is not available, or the normalizer is not a two-stain method.
    """
    _two_stains(normalizer)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise HistosynthError(
            f"--device {device} cannot be used ({str(error).splitlines()[0]}); leave out --device to compute in NumPy"
        ) from error


@torch.inference_mode()
def apply(images: Tensor, matrices: Tensor) -> Tensor:
    """Return `optical_density.apply_matrix` of a batch, to within one level.

    Args:
        images: uint8, (B, H, W, 3), of any strides.
        matrices: of `two_stains.normalization_matrix`, (3, 3) for all images or (B, 3, 3).

    Returns:
        uint8, (B, H, W, 3), on the device of the images.
    """
    pixels = images.flatten(1, 2)
    mixed = torch.empty_like(pixels, memory_format=torch.contiguous_format)
    matrices = matrices.to(images.device, torch.float32).expand(len(images), 3, 3)
    count = _images_at_a_time(pixels)
    for start in range(0, len(pixels), count):
        rows = slice(start, start + count)
        for block, out in zip(torch.split(pixels[rows], _CHUNK, 1), torch.split(mixed[rows], _CHUNK, 1), strict=True):
            light = _project(_density(block), -matrices[rows].mT).exp_()
            out.copy_(
                light.mul_(I0).sub_(0.5).clamp_(0, 255).mT
            )  # minus the 1 of the density, plus 0.5 to round by truncation
    return mixed.view(images.shape)


@torch.inference_mode()
def estimate_macenko(images: Tensor) -> list[StainFit | str]:
    """Return the fit of `Macenko().estimate` to the tissue of each image of a batch, uint8 (B, H, W, 3), or the reason.

    The fit of an image does not depend on the rest of the batch and is, by construction, bit-identical on all devices.
    """
    pixels = images.flatten(1, 2)
    chunks = torch.split(pixels, _images_at_a_time(pixels))
    return [fit for chunk in chunks for fit in _estimate(chunk)]


def _images_at_a_time(pixels: Tensor) -> int:  # (B, N, 3)
    """Return the number of images to process together: one on a CPU, whose cache holds no more."""
    # A CPU also processes the rest of its vectors by other instructions: vectors must not span two images.
    return 1 if pixels.device.type == "cpu" else max(1, _CHUNK // max(pixels.shape[1], 1))


def _estimate(pixels: Tensor) -> list[StainFit | str]:  # (B, N, 3)
    # Moments of all tissue pixels, and of those with stain.
    density = _density(pixels)
    least = density.amin(1)
    tissue, stained = density.amax(1) >= GLASS_DENSITY, least >= BETA
    black = (least > BLACK_DENSITY).sum(1).tolist()
    moments, moments_stained = _moments(density, tissue), _moments(density, stained)
    counts, counts_stained = moments[:, 0, 0], moments_stained[:, 0, 0]
    reasons: dict[int, str] = {}

    # Principal planes, and the extreme angles in them.
    def plane(k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        require_enough_stain(int(counts_stained[k]), black=black[k])
        about_zero = moments_stained[k] / counts_stained[k]
        mean = about_zero[0, 1:]
        return principal_plane(mean, about_zero[1:, 1:] - np.outer(mean, mean))

    planes = _try_each(range(len(pixels)), plane, reasons)
    if not planes:
        return [reasons[k] for k in range(len(pixels))]
    rows = list(planes)
    x, y = _project(density[rows], torch.tensor(np.stack([planes[k] for k in rows]))).unbind(1)
    diamond = _diamond_angle(x, y)
    angles = _top_percentile(
        torch.stack([-diamond, diamond], 1), stained[rows], counts_stained[rows], percent=ALPHA, of=_radians
    )
    extremes = {k: angle * np.array([-1.0, 1.0]) for k, angle in zip(rows, angles, strict=True)}

    # Stain vectors, and their largest concentrations.
    stains = _try_each(rows, lambda k: order_stains(directions_at(extremes[k], *planes[k])), reasons)
    if stains:
        rows = list(stains)
        concentrations = _project(density[rows], torch.tensor(np.stack([unmixing_matrix(stains[k]) for k in rows])))
        largest = _top_percentile(concentrations, tissue[rows], counts[rows], percent=TOP_PERCENT)
        maxima = dict(zip(rows, largest, strict=True))

    # Fits that pass the checks.
    def fit(k: int) -> StainFit:
        across = plane_normal(stains[k])
        squares = float(across @ moments[k, 1:, 1:] @ across)
        residual = math.sqrt(max(squares, 0.0) / (3 * counts[k]))
        candidate = validated_fit(stains[k], maxima[k], residual=residual, pixels=int(counts_stained[k]))
        dense = density[k : k + 1, :, density[k].amax(0) > DENSE]
        require_tissue_kept(
            _project(dense, torch.tensor(normalization_matrix(candidate, TARGET).T[None])).amax(1)[0].cpu().numpy()
        )
        return candidate

    fits = _try_each(stains, fit, reasons)
    return [fits.get(k) or reasons[k] for k in range(len(pixels))]


def _density(pixels: Tensor) -> Tensor:  # (B, N, 3) -> (B, 3, N)
    levels = torch.from_numpy(to_density(np.arange(256, dtype=np.uint8))).to(pixels.device)
    planar = pixels.mT.to(torch.int32, memory_format=torch.contiguous_format)
    return levels.index_select(0, planar.flatten()).view(planar.shape)


def _moments(density: Tensor, inside: Tensor) -> NDArray[np.float64]:  # (B, 3, N), (B, N) -> (B, 4, 4)
    """Return the exact sums of v v^T over the pixels inside, v = (1, red, green, blue): count, sums and products."""
    steps = (density * _STEPS).round().to(torch.int64) * inside[:, None]
    rows = [inside.to(torch.int64), *steps.unbind(1)]
    pairs = list(combinations_with_replacement(range(4), 2))
    totals = torch.stack([(rows[i] * rows[j]).sum(1) for i, j in pairs]).cpu().numpy()
    sums = np.empty((len(density), 4, 4))
    for (i, j), total in zip(pairs, totals, strict=True):
        sums[:, i, j] = sums[:, j, i] = total / float(_STEPS) ** ((i > 0) + (j > 0))
    return sums


def _project(density: Tensor, vectors: Tensor) -> Tensor:  # (B, 3, N), (B, V, 3) -> (B, V, N)
    """Return the scalar products of all densities with some vectors."""
    weights = vectors.to(density.device, torch.float32)[..., None]
    red, green, blue = (density[:, None, c] * weights[:, :, c] for c in range(3))
    return red.add_(green).add_(blue)


def _top_percentile(
    values: Tensor,
    inside: Tensor,
    counts: NDArray[np.float64],
    *,
    percent: float,
    of: Callable[[NDArray[np.float64]], NDArray[np.float64]] = lambda value: value,
) -> NDArray[np.float64]:  # (B, V, N), (B, N), (B,) -> (B, V)
    """Return `np.percentile(of(values), 100 - percent)` over the pixels inside; `of` is an increasing function."""
    ranks = percent / 100 * (counts - 1)
    top = values.masked_fill(~inside[:, None], -math.inf).topk(math.ceil(ranks.max()) + 1).values
    around = torch.tensor(np.stack([np.floor(ranks), np.ceil(ranks)], 1), dtype=torch.int64, device=top.device)
    neighbors = top.gather(2, around[:, None].expand(-1, values.shape[1], -1)).cpu().numpy()
    upper, lower = np.moveaxis(of(neighbors.astype(np.float64)), 2, 0)
    between: NDArray[np.float64] = upper + (ranks - np.floor(ranks))[:, None] * (lower - upper)
    return between


def _diamond_angle(x: Tensor, y: Tensor) -> Tensor:
    """Return the diamond angle of (x, y), between -2 and 2."""
    angle = y / (x.abs() + y.abs()).clamp_min(_TINY)
    return torch.where(x < 0, torch.where(y < 0, -2.0, 2.0) - angle, angle)


def _radians(diamond: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert a diamond angle to radians."""
    size = np.abs(diamond)
    angle: NDArray[np.float64] = np.copysign(np.arctan2(1 - np.abs(size - 1), 1 - size), diamond)
    return angle


def _try_each(
    rows: Mapping[int, Any] | Sequence[int], compute: Callable[[int], Result], reasons: dict[int, str]
) -> dict[int, Result]:
    """Return the results of the rows that can be computed; add the reasons of the others to `reasons`."""
    results = {}
    for k in rows:
        try:
            results[k] = compute(k)
        except StainError as error:
            reasons[k] = str(error)
    return results


def _two_stains(normalizer: StainNormalizer) -> TwoStains:
    if not isinstance(normalizer, TwoStains):
        raise HistosynthError(
            f"the torch backend supports Macenko and Vahadane, not {type(normalizer).__name__}; leave out --device"
        )
    return normalizer
