"""Near copies in pixels: the training patch that each synthetic patch is most like, under the eight flips and turns.

A patch is compared by its texture: the optical density D (mean of the channels) at 64 x 64 points, slightly blurred,
then normalized by the mean μ and the standard deviation σ of the surroundings (a Gaussian of 4 points),

    x = (D - μ) / (σ + 0.05)

so that brightness, the strength of the stain, and large shapes that much tissue shares (an edge, a gradient) count for
little; blur, JPEG and noise act below this scale. Candidates are the 8 training patches whose 16 x 16 block means
correlate best, over all symmetries, by one matrix product. Each is then compared closely: the middle of the synthetic
patch is cut into four quarters, each of which may move by 4 points (a sixteenth of the side) on the training patch, and

    similarity = Σ cov / √(Σ var · Σ var)        over the four quarters, each where it fits best; at most 1

the normalized cross-correlation (Lewis 1995), summed over quarters: hence small shifts and crops are forgiven.

Glass, and whatever else is nearly uniform, is like all of its kind. A training patch can be copied only where at least
half of its middle has a local σ above 0.02, and a synthetic one is compared from a tenth on (copying may fade it). The
rest is plain: counted, never compared. `benchmarks/metrics/copies.py` measures time and memory, false alarms on real
tissue of other patients, and how many planted copies are found.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, ndimage
from tqdm import tqdm

from histosynth.stain.optical_density import to_density

LoadImages = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
"""Gives the patches of these rows, (N, H, W, 3) with H = W, such as `Store.images`."""

SYMMETRIES = (
    "as it is", "turned left", "turned upside down", "turned right",
    "mirrored", "turned left, mirrored", "turned upside down, mirrored", "turned right, mirrored",
)  # fmt: skip
"""What `apply_symmetry` does, by number: quarter turns to the left, then mirrored left to right from 4 on."""

MIN_THRESHOLD, MAX_THRESHOLD = 0.85, 0.9
"""Bounds of a calibrated threshold."""

_SIDE, _COARSE, _QUARTER, _SHIFT = 64, 16, 24, 4
_SIGMA_FLOOR = 0.05  # of optical density
_TEXTURED = 0.02  # of local σ
_LEAST_TRAIN, _LEAST_FAKE = 0.5, 0.1  # of the middle that is textured
_LEVELS = 25  # of int8, a unit of x
_CANDIDATES = 8
_BLOCK = 256  # patches at a time
_LEAST_ENERGY = 0.01 * _QUARTER**2  # of a quarter: less is rounding


@dataclass(frozen=True)
class Textures:
    """What is compared of N patches."""

    values: NDArray[np.int8]  # (N, 64, 64), in units of 1/25
    textured: NDArray[np.float32]  # (N,), share of the middle, in [0, 1]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def can_be_copied(self) -> NDArray[np.bool_]:
        """Which are not plain, as training patches."""
        return self.textured >= _LEAST_TRAIN

    @property
    def can_be_compared(self) -> NDArray[np.bool_]:
        """Which are not plain, as synthetic patches."""
        return self.textured >= _LEAST_FAKE


@dataclass(frozen=True)
class Matches:
    """For each synthetic patch the training patch that it is most like."""

    train_row: NDArray[np.int64]  # (N,)
    symmetry: NDArray[np.int64]  # (N,), of the training patch
    similarity: NDArray[np.float64]  # (N,), at most 1; NaN where there was nothing to compare


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A synthetic patch and the training patch that looks like it once it is `turned(…, symmetry)`."""

    fake_row: int
    train_row: int
    symmetry: int
    similarity: float


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """From which similarity on a patch counts as a copy, and what real patches of other patients reach."""

    value: float
    quantile: float | None = None  # 0.999 of the held-out patches' similarities; None where there are none
    n: int = 0  # held-out patches compared
    reached: int = 0  # of them, how many would have counted as copies


def apply_symmetry(patches: NDArray[Any], symmetry: int) -> NDArray[Any]:
    """(N, H, W, …) patches under one of the eight `SYMMETRIES`."""
    rotated = np.rot90(patches, symmetry % 4, axes=(1, 2))
    return rotated[:, :, ::-1] if symmetry >= 4 else rotated


def compute_textures(images: LoadImages, count: int, *, progress: "tqdm[Any] | None" = None) -> Textures:
    """Textures of the patches of rows 0 to `count` - 1, read a block at a time; `progress` advances by patches."""
    values, textured = np.empty((count, _SIDE, _SIDE), np.int8), np.empty(count, np.float32)
    for start in range(0, count, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, count))
        values[rows], textured[rows] = _texture(images(rows))
        if progress is not None:
            progress.update(len(rows))
    return Textures(values, textured)


def match_patches(fake: Textures, train: Textures, *, progress: "tqdm[Any] | None" = None) -> Matches:
    """The most similar training patch of each synthetic one, among all that are not plain."""
    row, symmetry = np.zeros((2, len(fake)), np.int64)
    similarity = np.full(len(fake), np.nan)
    there, asked = np.flatnonzero(train.can_be_copied), np.flatnonzero(fake.can_be_compared)
    if progress is not None:
        progress.update(len(fake) - len(asked))
    if len(there):
        coarse = _coarse(train.values[there])
        for start in range(0, len(asked), _BLOCK):
            some = asked[start : start + _BLOCK]
            places, symmetries = _candidates(fake.values[some], coarse)
            found = _compare(fake.values[some], train.values, there[places], symmetries)
            best = found.argmax(axis=1)[:, None]
            row[some] = np.take_along_axis(there[places], best, 1)[:, 0]
            symmetry[some] = np.take_along_axis(symmetries, best, 1)[:, 0]
            similarity[some] = np.take_along_axis(found, best, 1)[:, 0]
            if progress is not None:
                progress.update(len(some))
    return Matches(row, symmetry, similarity)


def calibrate_threshold(held_out: Textures, train: Textures) -> Threshold:
    """The threshold: the 0.999 quantile of what patches of other patients reach, kept between 0.85 and 0.9.

    Without the upper bound, held-out patches that are copies themselves (a leak) would hide those of the model.
    """
    found = match_patches(held_out, train).similarity
    found = found[~np.isnan(found)]
    if not len(found):
        return Threshold(value=MIN_THRESHOLD)
    quantile = float(np.quantile(found, 0.999))
    value = min(max(quantile, MIN_THRESHOLD), MAX_THRESHOLD)
    return Threshold(value=value, quantile=quantile, n=len(found), reached=int(np.count_nonzero(found >= value)))


def find_copies(matches: Matches, *, threshold: float) -> list[Copy]:
    """The matches of that similarity or more, the most similar first."""
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
    found: NDArray[np.float32] = ndimage.gaussian_filter(values, (0, sigma, sigma), truncate=3)
    return found


def _coarse(values: NDArray[np.int8]) -> NDArray[np.float32]:
    """(N, 256) block means, of mean 0 and norm 1."""
    step = _SIDE // _COARSE
    means = values.reshape(-1, _COARSE, step, _COARSE, step).mean(axis=(2, 4), dtype=np.float32)
    means = means.reshape(len(values), -1)
    means -= means.mean(axis=1, keepdims=True)
    unit: NDArray[np.float32] = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-6)
    return unit


def _candidates(values: NDArray[np.int8], coarse: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(N, 8) places in `coarse`, and the symmetry under which each correlates best."""
    # The synthetic patch is turned back, which is cheaper: what is mirrored undoes itself, a turn does not.
    views = [_coarse(apply_symmetry(values, s if s >= 4 else -s % 4)) for s in range(len(SYMMETRIES))]
    highest = views[0] @ coarse.T
    for view in views[1:]:
        np.maximum(highest, view @ coarse.T, out=highest)
    count = min(_CANDIDATES, len(coarse))
    places = np.argpartition(highest, -count, axis=1)[:, -count:]
    return places, np.einsum("snd,nkd->nks", np.stack(views), coarse[places]).argmax(axis=2)


def _compare(
    fake: NDArray[np.int8], train: NDArray[np.int8], rows: NDArray[np.int64], symmetries: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The similarity of each fake patch (N, 64, 64) with these rows of `train`, (N, K), so turned."""
    likeness = np.empty(rows.shape)
    for symmetry in range(len(SYMMETRIES)):
        which, column = np.nonzero(symmetries == symmetry)
        if len(which):
            likeness[which, column] = similarity(fake[which], apply_symmetry(train[rows[which, column]], symmetry))
    return likeness


def similarity(a: NDArray[np.int8], b: NDArray[np.int8]) -> NDArray[np.float64]:
    """The similarity (see the module) of pairs of textures (N, 64, 64), in [-1, 1]; quarters of `a` move on `b`."""
    shared, energy_a, energy_b = np.zeros((3, len(a)))
    for corner in np.ndindex(2, 2):
        y, x = (_SIDE // 2 - _QUARTER + _QUARTER * at for at in corner)
        quarter = a[:, y : y + _QUARTER, x : x + _QUARTER].astype(np.float32) / np.float32(_LEVELS)
        quarter -= quarter.mean(axis=(1, 2), keepdims=True)
        reach = _QUARTER + 2 * _SHIFT
        field = b[:, y - _SHIFT :, x - _SHIFT :][:, :reach, :reach].astype(np.float32) / np.float32(_LEVELS)
        spectrum = fft.rfft2(field) * np.conj(fft.rfft2(quarter, s=(reach, reach)))
        places = 2 * _SHIFT + 1
        shares = fft.irfft2(spectrum, s=(reach, reach))[:, :places, :places].reshape(len(a), -1)
        energies = (_sums(field**2) - _sums(field) ** 2 / _QUARTER**2).reshape(len(a), -1)
        best = np.argmax(shares / np.sqrt(np.maximum(energies, _LEAST_ENERGY)), axis=1)[:, None]
        shared += np.take_along_axis(shares, best, 1)[:, 0]
        energy_a += np.sum(quarter**2, axis=(1, 2))
        energy_b += np.take_along_axis(energies, best, 1)[:, 0]
    likeness: NDArray[np.float64] = shared / np.sqrt(
        np.maximum(energy_a, _LEAST_ENERGY) * np.maximum(energy_b, _LEAST_ENERGY)
    )
    return likeness


def _sums(field: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sums over the windows of a quarter's size, at each of its places."""
    total = np.zeros((len(field), field.shape[1] + 1, field.shape[2] + 1))
    total[:, 1:, 1:] = field.cumsum(axis=1, dtype=np.float64).cumsum(axis=2)
    down = total[:, _QUARTER:] - total[:, :-_QUARTER]
    sums: NDArray[np.float64] = down[:, :, _QUARTER:] - down[:, :, :-_QUARTER]
    return sums
