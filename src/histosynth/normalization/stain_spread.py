"""Distance between the stains of the slides of a store, before and after normalization, by Macenko fits.

Whichever method normalized the store, both stores are measured on the same pixels, those that are tissue before: the
effect of a method on background does not matter. See `histosynth.stain.distance` for the distance.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from histosynth.normalization.pixel_pool import PixelPool
from histosynth.stain import Macenko, StainError, StainFit, is_tissue
from histosynth.stain.distance import mean_stain_distance
from histosynth.store.part import image_of, stream_rows

REFERENCE_METHOD = Macenko()
_MEASURED_PIXELS = 50_000  # per slide


def slide_key(row: Mapping[str, Any]) -> str:
    """Return the unit that is fitted: a slide, or all patches made by one run."""
    return str(row["slide_id"] or row["source"])


def stain_spread(raw: Sequence[Path], normalized: Sequence[Path], *, progress: bool) -> dict[str, Any] | None:
    """Return the mean distance between the stains of two slides; None for fewer than two measurable slides.

    Args:
        raw: parts of the raw store.
        normalized: parts of the normalized store, with the same patches in the same order.
        progress: show a progress bar on stderr.
    """
    # Fits of each slide, made at its last patch
    remaining = Counter(map(slide_key, stream_rows(raw, columns=["slide_id", "source"])))
    sizes = dict(remaining)
    fits: dict[str, list[StainFit]] = {"raw": [], "normalized": []}
    pools: dict[str, tuple[PixelPool, PixelPool]] = {}
    columns = ["patch_id", "slide_id", "source", "image"]
    pairs = zip(stream_rows(raw, columns=columns), stream_rows(normalized, columns=columns), strict=True)
    for rows in tqdm(pairs, total=remaining.total(), desc="measuring", unit="patch", disable=not progress):
        name, images = slide_key(rows[0]), [image_of(row) for row in rows]
        if name not in pools:
            pixels = sizes[name] * images[0].size // 3
            pools[name] = PixelPool(pixels, at_most=_MEASURED_PIXELS), PixelPool(pixels, at_most=_MEASURED_PIXELS)
        for pool, image in zip(pools[name], images, strict=True):
            pool.add(image)
        remaining[name] -= 1
        if not remaining[name] and (pair := _measure(*pools.pop(name))):
            for key, fit in zip(fits, pair, strict=True):
                fits[key].append(fit)

    # Mean distances
    before, after = (mean_stain_distance(fits[key]) for key in ("raw", "normalized"))
    if before is None or after is None:
        return None
    measured = len(fits["raw"])
    return {
        "raw": round(before, 4),
        "normalized": round(after, 4),
        "slides": measured,
        "not_measured": len(sizes) - measured,
    }


def _measure(raw: PixelPool, normalized: PixelPool) -> tuple[StainFit, StainFit] | None:
    """Return the fits of the pixels that are tissue before; None where either fails."""
    tissue = is_tissue(raw.pixels)
    try:
        return REFERENCE_METHOD.estimate(raw.pixels[tissue]), REFERENCE_METHOD.estimate(normalized.pixels[tissue])
    except StainError:
        return None
