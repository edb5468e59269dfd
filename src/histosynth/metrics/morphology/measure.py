"""Morphology of a set of patches: their nuclei, patch by patch, in as many processes as there are cores.

Use one fit of the stains for all sets that are compared; otherwise their units of hematoxylin differ.
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
"""Microns per pixel of patches without a value: lengths are then half-pixels, comparable at equal size only."""
_BLOCK = 32  # patches per task of a process
_PATCHES_PER_PROCESS = 200  # take as long as starting a process
_FIT_PIXELS = 1_000_000

Block = tuple[NDArray[np.uint8], Sequence[float | None]]


@dataclass(frozen=True, kw_only=True)
class Morphology:
    """Measurements of P patches with N whole nuclei."""

    nuclei: NucleusTable
    """(N,) of `NUCLEUS_DTYPE`."""
    patch: NDArray[np.int64]
    """(N,): patch of each nucleus, 0 to P - 1."""
    density_per_mm2: NDArray[np.float64]
    """(P,)."""
    assumed_mpp: int
    """Number of patches without microns per pixel, measured with `ASSUMED_MPP`."""

    def values(self, feature: str) -> NDArray[np.float64]:
        """Return the known values of one of `MORPHOLOGY_FEATURES`: per nucleus, or per patch for the density."""
        values = self.density_per_mm2 if feature == "density_per_mm2" else self.nuclei[feature].astype(np.float64)
        return values[np.isfinite(values)]


def fit_pooled_stains(images: Iterable[NDArray[np.uint8]]) -> StainFit:
    """Fit the stains of a set to the pooled tissue pixels of images (..., 3), until there are a million pixels.

    If they cannot be determined, return the default target, whose `pixels` is 0.
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
    """Measure (P, H, W, 3) patches with these microns per pixel (None: unknown) and the stains of `fit`."""
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
    """Measure these rows of a store, in their order. Memory holds a few blocks of images, whatever their number.

    Args:
        store: real or synthetic patches.
        rows: row numbers.
        fit: `fit_pooled_stains` of the real patches, for real and synthetic stores.
        workers: number of processes, which does not change the results; 1: this process; None: one per core, if there
            are enough patches.
        progress: advances by the patches done.

    Raises:
        HistosynthError: an image of the store is damaged, or a process is killed.
    """
    # Divide the rows into blocks.
    scales = store.column("mpp")
    workers = workers or min(os.cpu_count() or 1, 1 + len(rows) // _PATCHES_PER_PROCESS)
    chunks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    blocks = ((store.images(chunk), [scales[row] for row in chunk]) for chunk in chunks)
    # Measure them, here or in other processes.
    parts = []
    for part in _measure_blocks(blocks, fit, processes=min(workers, len(chunks))):
        parts.append(part)
        if progress is not None:
            progress.update(len(part.density_per_mm2))
    return concatenate(parts)


def concatenate(parts: Sequence[Morphology]) -> Morphology:
    """Return several sets as one, in their order."""
    starts = np.cumsum([0, *(len(part.density_per_mm2) for part in parts)])
    return Morphology(
        nuclei=np.concatenate([np.empty(0, NUCLEUS_DTYPE), *(part.nuclei for part in parts)]),
        patch=np.concatenate([np.empty(0, np.int64), *(p.patch + s for p, s in zip(parts, starts, strict=False))]),
        density_per_mm2=np.concatenate([np.empty(0), *(part.density_per_mm2 for part in parts)]),
        assumed_mpp=sum(part.assumed_mpp for part in parts),
    )


def _measure_blocks(blocks: Iterable[Block], fit: StainFit, *, processes: int) -> Iterator[Morphology]:
    """Yield results in the order of the blocks, with at most two pending blocks per process."""
    if processes <= 1:
        for images, mpp in blocks:
            yield measure_images(images, mpp=mpp, fit=fit)
        return
    # Spawned, not forked, because numerical libraries may have started threads in this process.
    context = multiprocessing.get_context("spawn")
    pending: deque[Future[Morphology]] = deque()
    try:
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            for images, mpp in blocks:
                pending.append(pool.submit(measure_images, images, mpp=mpp, fit=fit))
                if len(pending) >= 2 * processes:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
    except BrokenProcessPool as error:
        raise HistosynthError("a process that measures nuclei was killed; use fewer workers, or more memory") from error
