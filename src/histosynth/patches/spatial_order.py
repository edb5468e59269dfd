"""In which order the places of a slide are taken: seeded, even, and spread, so that any first few cover all of it.

After the reverse hierarchical order of Stevens & Olsen (2004), "Spatially balanced sampling of natural resources":
halve the places again and again across the longer side of their bounds, as many on one side as on the other, and take
from the halves in turn; a coin decides which comes first. The n first places then lie about as evenly as n can, each
place is as likely as any other to be among them, and the order does not depend on how many are wanted: to raise the cap
keeps what was taken. (Farthest-point sampling spreads too, but takes the rim first.)
"""

import hashlib

import numpy as np
from numpy.typing import NDArray


def slide_rng(seed: int, slide_id: str, purpose: str) -> np.random.Generator:
    """A source of chance for one purpose on one slide: no slide, and no other purpose, changes what it gives."""
    digest = hashlib.sha256(f"{seed}\0{slide_id}\0{purpose}".encode()).digest()
    return np.random.default_rng(np.random.SeedSequence(int.from_bytes(digest)))


def spatially_balanced_order(corners: NDArray[np.int64], *, rng: np.random.Generator) -> NDArray[np.int64]:
    """The order (N,) in which to take the distinct places (N, 2): row numbers."""
    count = len(corners)
    group, turn, bit = np.zeros(count, np.int64), np.zeros(count, np.int64), 0
    while count and (sizes := np.bincount(group)).max() > 1:
        starts = np.cumsum(sizes) - sizes
        rows = np.argsort(group, kind="stable")
        width, height = _extents(corners[rows], starts)
        across = np.where((width >= height)[group], corners[:, 0], corners[:, 1])
        along = corners.sum(axis=1) - across
        rows = np.lexsort((along, across, group))
        rank = np.empty(count, np.int64)
        rank[rows] = np.arange(count) - np.repeat(starts, sizes)
        half = sizes // 2 + sizes % 2 * rng.integers(2, size=len(sizes))
        in_second = rank >= half[group]
        second_leads = rng.random(len(sizes)) < 0.5
        turn |= (in_second ^ second_leads[group]).astype(np.int64) << bit
        group = np.unique(2 * group + in_second, return_inverse=True)[1]
        bit += 1
    return np.argsort(turn, kind="stable")


def _extents(corners: NDArray[np.int64], starts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Width and height of the bounds of each run of rows that begins at `starts`."""
    low, high = np.minimum.reduceat(corners, starts), np.maximum.reduceat(corners, starts)
    return high[:, 0] - low[:, 0], high[:, 1] - low[:, 1]
