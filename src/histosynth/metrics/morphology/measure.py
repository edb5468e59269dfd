"""The morphology of a set of patches: their nuclei, patch by patch, in as many processes as there are cores.

One fit of the stains serves all sets that are compared, else what differs would be the unit of hematoxylin.
"""

import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from histosynth.errors import HistosynthError
from histosynth.metrics.morphology.nuclei import find_nuclei
from histosynth.metrics.morphology.shapes import NUCLEUS_DTYPE, NucleusTable, density_per_mm2, measure_nuclei
from histosynth.stain import Macenko, StainError, StainFit, tissue_pixels
from histosynth.stain.two_stains import TARGET
from histosynth.store.store import Store

ASSUMED_MPP = 0.5
"""Microns per pixel of patches that state none: lengths then are half-pixels, to be compared at equal size only."""
_BLOCK = 32  # patches a process takes at a time
_WORTH_A_PROCESS = 200  # patches take it as long as it takes to start
_FIT_PIXELS = 1_000_000

Block = tuple[NDArray[np.uint8], Sequence[float | None]]


@dataclass(frozen=True, kw_only=True)
class Morphology:
    """What was measured on P patches with N whole nuclei."""

    nuclei: NucleusTable
    """(N,) of `NUCLEUS_DTYPE`."""
    patch: NDArray[np.int64]
    """(N,): the patch of each nucleus, 0 to P - 1."""
    density_per_mm2: NDArray[np.float64]
    """(P,)."""
    assumed_mpp: int
    """Patches that state no microns per pixel; `ASSUMED_MPP` stands in for them."""

    def values(self, feature: str) -> NDArray[np.float64]:
        """The known values of one of `MORPHOLOGY_FEATURES`: of each nucleus, or of each patch for the density."""
        found = self.density_per_mm2 if feature == "density_per_mm2" else self.nuclei[feature].astype(np.float64)
        return found[np.isfinite(found)]


def fit_pooled_stains(images: Iterable[NDArray[np.uint8]]) -> StainFit:
    """The stains of a set, from the pooled tissue pixels of images (..., 3), as many as a million pixels need.

    Where they cannot be told it is the usual target, whose `pixels` is 0.
    """
    pooled: list[NDArray[np.uint8]] = []
    for image in images:
        pooled.append(tissue_pixels(image.reshape(-1, 3)))
        if sum(map(len, pooled)) > _FIT_PIXELS:
            break
    try:
        return Macenko().estimate(np.concatenate(pooled)) if pooled else TARGET
    except StainError:
        return TARGET


def measure_images(images: NDArray[np.uint8], *, mpp: Sequence[float | None], fit: StainFit) -> Morphology:
    """Measure (P, H, W, 3) patches of these microns per pixel (None: not known), stained as `fit` says."""
    tables, densities = [], []
    for image, scale in zip(images, mpp, strict=True):
        nuclei = find_nuclei(image, mpp=ASSUMED_MPP if scale is None else scale, fit=fit)
        tables.append(measure_nuclei(nuclei))
        densities.append(density_per_mm2(nuclei))
    return Morphology(
        nuclei=np.concatenate([np.empty(0, NUCLEUS_DTYPE), *tables]),
        patch=np.repeat(np.arange(len(tables)), [len(table) for table in tables]),
        density_per_mm2=np.array(densities, dtype=np.float64),
        assumed_mpp=sum(scale is None for scale in mpp),
    )


def measure_store(
    store: Store,
    rows: Sequence[int] | NDArray[np.int64],
    *,
    fit: StainFit,
    workers: int | None = None,
    progress: "tqdm[Any] | None" = None,
) -> Morphology:
    """Measure these rows of a store, in their order; memory holds a few blocks of images, whatever their number.

    Args:
        store: real or synthetic patches.
        rows: row numbers.
        fit: `fit_pooled_stains` of the real patches, for both.
        workers: processes; None takes one a core where there is work for them, 1 works in this process. Their number
            changes nothing.
        progress: advanced by the patches done.

    Raises:
        HistosynthError: an image of the store is damaged, or a process was killed.
    """
    scales = store.column("mpp")
    workers = workers or min(os.cpu_count() or 1, 1 + len(rows) // _WORTH_A_PROCESS)
    chunks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    blocks = ((store.images(chunk), [scales[row] for row in chunk]) for chunk in chunks)
    found = []
    for part in _measured(blocks, fit, processes=min(workers, len(chunks))):
        found.append(part)
        if progress is not None:
            progress.update(len(part.density_per_mm2))
    return concatenate(found)


def concatenate(parts: Sequence[Morphology]) -> Morphology:
    """Several sets as one, in their order."""
    starts = np.cumsum([0, *(len(part.density_per_mm2) for part in parts)])
    return Morphology(
        nuclei=np.concatenate([np.empty(0, NUCLEUS_DTYPE), *(part.nuclei for part in parts)]),
        patch=np.concatenate([np.empty(0, np.int64), *(p.patch + s for p, s in zip(parts, starts, strict=False))]),
        density_per_mm2=np.concatenate([np.empty(0), *(part.density_per_mm2 for part in parts)]),
        assumed_mpp=sum(part.assumed_mpp for part in parts),
    )


def _measured(blocks: Iterable[Block], fit: StainFit, *, processes: int) -> Iterator[Morphology]:
    """Results in the order of the blocks; no more than two blocks a process are in the air."""
    if processes <= 1:
        for images, mpp in blocks:
            yield measure_images(images, mpp=mpp, fit=fit)
        return
    # Spawned, not forked: the caller may hold the threads of a numerical library.
    context = multiprocessing.get_context("spawn")
    waiting: deque[Future[Morphology]] = deque()
    try:
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            for images, mpp in blocks:
                waiting.append(pool.submit(measure_images, images, mpp=mpp, fit=fit))
                if len(waiting) >= 2 * processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise HistosynthError("a process that measures nuclei was killed; use fewer workers, or more memory") from error
