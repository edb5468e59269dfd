"""Near copies in pixels: the training patch most similar to each synthetic patch, under the eight flips and rotations.

A patch is compared by its texture: the optical density D (mean of the channels) at 64 x 64 points, slightly blurred,
then normalized by the local mean μ and standard deviation σ (a Gaussian of 4 points),

    x = (D - μ) / (σ + 0.05)

so that brightness, stain intensity and large shapes common to much tissue (an edge, a gradient) have little weight;
blur, JPEG and noise act below this scale. The 8 training patches that resemble it most coarsely (`copy_candidates`) are
then compared in detail: the center of the synthetic patch is divided into four quarters, each of which may shift by 4
points (a sixteenth of the side) on the training patch, and

    similarity = Σ cov / √(Σ var · Σ var)        over the four quarters, each at its best shift; at most 1

the normalized cross-correlation (Lewis 1995), summed over quarters. If the synthetic patch looks like an enlarged crop
of the candidate, it is compared in reduced size as well. Shifts and crops by a sixteenth of the side are therefore
tolerated.

Nearly uniform patches, such as glass, all resemble each other. A training patch can be copied only if at least half of
its center has a local σ above 0.02; a synthetic patch is compared from a tenth on, since copying may fade it. The other
patches are plain: they are counted, but not compared. `benchmarks/metrics/copies.py` measures time and memory, false
alarms on real tissue of other patients, and the share of planted copies that is found.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, ndimage
from tqdm import tqdm

from histosynth.metrics.copy_candidates import CROP_SCALE, Candidates, coarse_features, select_candidates
from histosynth.metrics.symmetries import SYMMETRIES, apply_symmetry
from histosynth.stain.optical_density import to_density

LoadImages = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
"""Returns the patches of these rows, (N, H, W, 3) with H = W, such as `Store.images`."""

MIN_THRESHOLD, MAX_THRESHOLD = 0.85, 0.9
"""Bounds of the calibrated threshold."""

_SIDE, _QUARTER, _SHIFT = 64, 24, 4
_SIGMA_FLOOR = 0.05  # of optical density
_TEXTURED = 0.02  # of local σ
_MIN_TRAIN, _MIN_FAKE = 0.5, 0.1  # textured share of the center
_LEVELS = 25  # levels of int8 per unit of x
_CANDIDATES = 8
_BLOCK = 256  # patches at a time
_MIN_ENERGY = 0.01 * _QUARTER**2  # of a quarter: less is rounding


@dataclass(frozen=True)
class Textures:
    """Textures of N patches."""

    values: NDArray[np.int8]  # (N, 64, 64), in units of 1/25
    textured: NDArray[np.float32]  # (N,), textured share of the center, in [0, 1]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def can_be_copied(self) -> NDArray[np.bool_]:
        """Training patches that are not plain, (N,)."""
        return self.textured >= _MIN_TRAIN

    @property
    def can_be_compared(self) -> NDArray[np.bool_]:
        """Synthetic patches that are not plain, (N,)."""
        return self.textured >= _MIN_FAKE


@dataclass(frozen=True)
class Matches:
    """The most similar training patch of each synthetic patch."""

    train_row: NDArray[np.int64]  # (N,)
    symmetry: NDArray[np.int64]  # (N,), applied to the training patch
    similarity: NDArray[np.float64]  # (N,), at most 1; NaN if not compared


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A synthetic patch and the training patch that resembles it after `apply_symmetry(…, symmetry)`."""

    fake_row: int
    train_row: int
    symmetry: int
    similarity: float


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Similarity from which a patch counts as a copy, and the similarities of real patches of other patients."""

    value: float
    quantile: float | None = None  # 0.999 quantile of the similarities of held-out patches; None without any
    n: int = 0  # held-out patches compared
    reached: int = 0  # held-out patches at or above the threshold


def compute_textures(images: LoadImages, count: int, *, progress: "tqdm[Any] | None" = None) -> Textures:
    """Compute the textures of rows 0 to `count` - 1, block by block; `progress` advances by patches."""
    values, textured = np.empty((count, _SIDE, _SIDE), np.int8), np.empty(count, np.float32)
    for start in range(0, count, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, count))
        values[rows], textured[rows] = _texture(images(rows))
        if progress is not None:
            progress.update(len(rows))
    return Textures(values, textured)


def match_patches(fake: Textures, train: Textures, *, progress: "tqdm[Any] | None" = None) -> Matches:
    """Find the most similar training patch of each synthetic patch, among those that are not plain."""
    row, symmetry = np.zeros((2, len(fake)), np.int64)
    similarity = np.full(len(fake), np.nan)
    train_rows, fake_rows = np.flatnonzero(train.can_be_copied), np.flatnonzero(fake.can_be_compared)
    if progress is not None:
        progress.update(len(fake) - len(fake_rows))
    if len(train_rows):
        coarse = coarse_features(train.values[train_rows])
        for start in range(0, len(fake_rows), _BLOCK):
            block = fake_rows[start : start + _BLOCK]
            candidates = select_candidates(fake.values[block], coarse, count=_CANDIDATES)
            similarities = _compare(fake.values[block], train.values, candidates, train_rows)
            best = similarities.argmax(axis=1)[:, None]
            row[block] = train_rows[np.take_along_axis(candidates.rows, best, 1)[:, 0]]
            symmetry[block] = np.take_along_axis(candidates.symmetry, best, 1)[:, 0]
            similarity[block] = np.take_along_axis(similarities, best, 1)[:, 0]
            if progress is not None:
                progress.update(len(block))
    return Matches(row, symmetry, similarity)


def calibrate_threshold(held_out: Textures, train: Textures) -> Threshold:
    """Return the 0.999 quantile of the similarities of patches of other patients, limited to 0.85 to 0.9.

    Without the upper limit, held-out patches that are copies themselves (a leak) would hide those of the model.
    """
    similarities = match_patches(held_out, train).similarity
    similarities = similarities[~np.isnan(similarities)]
    if not len(similarities):
        return Threshold(value=MIN_THRESHOLD)
    quantile = float(np.quantile(similarities, 0.999))
    value = min(max(quantile, MIN_THRESHOLD), MAX_THRESHOLD)
    reached = int(np.count_nonzero(similarities >= value))
    return Threshold(value=value, quantile=quantile, n=len(similarities), reached=reached)


def find_copies(matches: Matches, *, threshold: float) -> list[Copy]:
    """Return the matches with at least this similarity, the most similar first."""
    rows = np.flatnonzero(matches.similarity >= threshold)  # never where it is NaN
    order = rows[np.argsort(-matches.similarity[rows], kind="stable")]
    return [
        Copy(
            fake_row=int(row),
            train_row=int(matches.train_row[row]),
            symmetry=int(matches.symmetry[row]),
            similarity=float(matches.similarity[row]),
        )
        for row in order
    ]


def _texture(images: NDArray[np.uint8]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    size = (_SIDE, _SIDE)
    small = np.stack([np.asarray(Image.fromarray(i).resize(size, Image.Resampling.BILINEAR)) for i in images])
    density = _blurred(to_density(small).mean(axis=3), 1)
    density -= _blurred(density, 4)
    sigma = np.sqrt(_blurred(density**2, 4))
    values = np.rint(density / (sigma + _SIGMA_FLOOR) * _LEVELS).clip(-127, 127).astype(np.int8)
    inner = slice(_SIDE // 2 - _QUARTER, _SIDE // 2 + _QUARTER)
    return values, np.mean(sigma[:, inner, inner] > _TEXTURED, axis=(1, 2), dtype=np.float32)


def _blurred(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    blurred: NDArray[np.float32] = ndimage.gaussian_filter(values, (0, sigma, sigma), truncate=3)
    return blurred


def _compare(
    fake: NDArray[np.int8], train: NDArray[np.int8], candidates: Candidates, train_rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the similarities (N, K) of fake patches (N, 64, 64) with their candidates among `train[train_rows]`."""
    similarities = np.empty(candidates.rows.shape)
    for symmetry, enlarged in product(range(len(SYMMETRIES)), (False, True)):
        which, column = np.nonzero((candidates.symmetry == symmetry) & (candidates.enlarged == enlarged))
        if not len(which):
            continue
        training = apply_symmetry(train[train_rows[candidates.rows[which, column]]], symmetry)
        values = similarity(fake[which], training)
        if enlarged:  # as it seems from block means: a small shift can look alike
            values = np.maximum(values, similarity(_reduced(fake[which]), training))
        similarities[which, column] = values
    return similarities


def _reduced(values: NDArray[np.int8]) -> NDArray[np.int8]:
    """Undo the enlargement of a crop: reduce textures around their center, by linear interpolation."""
    points = np.arange(_SIDE)
    middle = (_SIDE - 1) / 2
    at = (points - middle) * CROP_SCALE + middle
    weights = np.stack([np.interp(at, points, one) for one in np.eye(_SIDE)], axis=1).astype(np.float32)
    reduced: NDArray[np.int8] = np.rint(weights @ values.astype(np.float32) @ weights.T).astype(np.int8)
    return reduced


def similarity(a: NDArray[np.int8], b: NDArray[np.int8]) -> NDArray[np.float64]:
    """Return the similarity (see the module), in [-1, 1], of pairs of textures (N, 64, 64); quarters of `a` shift."""
    shared, energy_a, energy_b = np.zeros((3, len(a)))
    for corner in np.ndindex(2, 2):
        y, x = (_SIDE // 2 - _QUARTER + _QUARTER * at for at in corner)
        quarter = a[:, y : y + _QUARTER, x : x + _QUARTER].astype(np.float32) / np.float32(_LEVELS)
        quarter -= quarter.mean(axis=(1, 2), keepdims=True)
        # Covariance with `b` at every shift, by the Fourier transform.
        side = _QUARTER + 2 * _SHIFT
        window = b[:, y - _SHIFT :, x - _SHIFT :][:, :side, :side].astype(np.float32) / np.float32(_LEVELS)
        spectrum = fft.rfft2(window) * np.conj(fft.rfft2(quarter, s=(side, side)))
        shifts = 2 * _SHIFT + 1
        covariances = fft.irfft2(spectrum, s=(side, side))[:, :shifts, :shifts].reshape(len(a), -1)
        energies = (_window_sums(window**2) - _window_sums(window) ** 2 / _QUARTER**2).reshape(len(a), -1)
        # The best shift.
        best = np.argmax(covariances / np.sqrt(np.maximum(energies, _MIN_ENERGY)), axis=1)[:, None]
        shared += np.take_along_axis(covariances, best, 1)[:, 0]
        energy_a += np.sum(quarter**2, axis=(1, 2))
        energy_b += np.take_along_axis(energies, best, 1)[:, 0]
    similarities: NDArray[np.float64] = shared / np.sqrt(
        np.maximum(energy_a, _MIN_ENERGY) * np.maximum(energy_b, _MIN_ENERGY)
    )
    return similarities


def _window_sums(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the sum over a window of a quarter's size at each shift."""
    total = np.zeros((len(values), values.shape[1] + 1, values.shape[2] + 1))
    total[:, 1:, 1:] = values.cumsum(axis=1, dtype=np.float64).cumsum(axis=2)
    down = total[:, _QUARTER:] - total[:, :-_QUARTER]
    sums: NDArray[np.float64] = down[:, :, _QUARTER:] - down[:, :, :-_QUARTER]
    return sums
