"""Candidates for near copies: the training patches that coarsely resemble a synthetic one, even if moved or cropped.

A training patch is represented by 8 x 8 block means over the center of its texture (64 x 64 points), with blocks of 6
points, mean 0 and norm 1. A synthetic patch is represented by 80 such views, ten under each of the eight symmetries:

- nine with the blocks moved by -4, 0 or 4 points in each direction. Moving by less than half of 4 points changes a
  mean over 6 points little, so these cover all shifts by a sixteenth of the side;
- one with blocks of 7 points. It undoes the enlargement of a crop by a sixteenth of the side at each border, 8/7.

The candidates are the training patches with the highest correlation over all views, found by matrix products.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histosynth.metrics.symmetries import SYMMETRIES, undo_symmetry

CROP_SCALE = 8 / 7
"""Enlargement that the tenth view undoes."""

_BLOCKS, _POINTS, _LARGER_POINTS = 8, 6, 7
_MOVES = [(dy, dx) for dy in (-4, 0, 4) for dx in (-4, 0, 4)]
_VIEWS = len(_MOVES) + 1  # of each symmetry
_CHUNK = 2048  # training patches at a time, so that products stay in the processor's cache


@dataclass(frozen=True)
class Candidates:
    """K training patches for each of N synthetic ones, and the change under which each correlates best."""

    rows: NDArray[np.int64]  # (N, K)
    symmetry: NDArray[np.int64]  # (N, K)
    enlarged: NDArray[np.bool_]  # (N, K), whether the synthetic patch looks like an enlarged crop


def coarse_features(textures: NDArray[np.int8]) -> NDArray[np.float32]:
    """Return the (N, 64) block means of (N, 64, 64) textures, with mean 0 and norm 1."""
    return _block_means(textures, points=_POINTS)


def select_candidates(textures: NDArray[np.int8], coarse: NDArray[np.float32], *, count: int) -> Candidates:
    """Return `count` candidates (or all) for each synthetic texture (N, 64, 64), as rows of `coarse`."""
    views = [view for symmetry in range(len(SYMMETRIES)) for view in _views(undo_symmetry(textures, symmetry))]
    highest = np.full((len(textures), len(coarse)), -np.inf, np.float32)
    for start in range(0, len(coarse), _CHUNK):
        chunk, part = coarse[start : start + _CHUNK].T, highest[:, start : start + _CHUNK]
        for view in views:
            np.maximum(part, view @ chunk, out=part)
    count = min(count, len(coarse))
    rows = np.argpartition(highest, -count, axis=1)[:, -count:]
    best = np.einsum("vnd,nkd->nkv", np.stack(views), coarse[rows]).argmax(axis=2)
    return Candidates(rows, best // _VIEWS, best % _VIEWS == len(_MOVES))


def _views(textures: NDArray[np.int8]) -> list[NDArray[np.float32]]:
    moved = [_block_means(textures, points=_POINTS, dy=dy, dx=dx) for dy, dx in _MOVES]
    return [*moved, _block_means(textures, points=_LARGER_POINTS)]


def _block_means(textures: NDArray[np.int8], *, points: int, dy: int = 0, dx: int = 0) -> NDArray[np.float32]:
    side = _BLOCKS * points
    first = (textures.shape[1] - side) // 2
    window = textures[:, first + dy : first + dy + side, first + dx : first + dx + side]
    means = window.reshape(-1, _BLOCKS, points, _BLOCKS, points).mean(axis=(2, 4), dtype=np.float32)
    means = means.reshape(len(textures), -1)
    means -= means.mean(axis=1, keepdims=True)
    unit: NDArray[np.float32] = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-6)
    return unit
