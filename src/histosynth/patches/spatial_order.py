"""Order in which the candidate regions of a slide are read: seeded, random, and spatially balanced.

This is the reverse hierarchical ordering of Stevens & Olsen (2004), "Spatially balanced sampling of natural resources".
The regions are halved recursively across the longer side of their bounds, with equal numbers on both sides; the order
alternates between the halves, and a coin flip decides which half comes first. For every n, the first n regions are thus
spread about as evenly as n regions can be, and every region is equally likely to be among them. The order does not
depend on how many regions are wanted, so that raising the cap keeps the patches already extracted. (Farthest-point
sampling also spreads regions, but selects the border first.)
"""

import hashlib

import numpy as np
from numpy.typing import NDArray


def slide_rng(seed: int, slide_id: str, purpose: str) -> np.random.Generator:
    """Return a random generator for one purpose on one slide, independent of all other slides and purposes."""
    digest = hashlib.sha256(f"{seed}\0{slide_id}\0{purpose}".encode()).digest()
    return np.random.default_rng(np.random.SeedSequence(int.from_bytes(digest)))


def spatially_balanced_order(corners: NDArray[np.int64], *, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the order, as row numbers (N,), in which to read the regions at distinct `corners` (N, 2)."""
    count = len(corners)
    group, priority, bit = np.zeros(count, np.int64), np.zeros(count, np.int64), 0
    while count and (sizes := np.bincount(group)).max() > 1:
        # Rank the regions of each group along the longer side of its bounds.
        starts = np.cumsum(sizes) - sizes
        rows = np.argsort(group, kind="stable")
        width, height = _group_bounds(corners[rows], starts)
        across = np.where((width >= height)[group], corners[:, 0], corners[:, 1])
        along = corners.sum(axis=1) - across
        rows = np.lexsort((along, across, group))
        rank = np.empty(count, np.int64)
        rank[rows] = np.arange(count) - np.repeat(starts, sizes)
        # Split each group in half; chance decides which half leads and which one gets the odd region.
        half = sizes // 2 + sizes % 2 * rng.integers(2, size=len(sizes))
        in_second = rank >= half[group]
        second_leads = rng.random(len(sizes)) < 0.5
        # The first split is the lowest bit of the priority, so that the order alternates between its halves.
        priority |= (in_second ^ second_leads[group]).astype(np.int64) << bit
        group = np.unique(2 * group + in_second, return_inverse=True)[1]
        bit += 1
    return np.argsort(priority, kind="stable")


def _group_bounds(corners: NDArray[np.int64], starts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return width and height of the bounds of each group of rows, which begin at `starts`."""
    low, high = np.minimum.reduceat(corners, starts), np.maximum.reduceat(corners, starts)
    return high[:, 0] - low[:, 0], high[:, 1] - low[:, 1]
