"""How far apart the slides of a store are stained, before and after, by one yardstick: Macenko fits of the same pixels.

Whatever the method, both stores are measured alike, and on the pixels that are tissue before: what a method does to
glass changes nothing. See `histosynth.stain.distance` for the distance.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from histosynth.normalization.staining import PixelPool
from histosynth.stain import Macenko, StainError, StainFit, is_tissue
from histosynth.stain.distance import mean_stain_distance
from histosynth.store.part import stream_rows
from histosynth.store.png import decode_png

REFERENCE_METHOD = Macenko()
_MEASURED = 50_000  # pixels a slide


def slide_key(row: Mapping[str, Any]) -> str:
    """What is fitted as one: a slide, or all that one run made."""
    return str(row["slide_id"] or row["source"])


def stain_spread(raw: Sequence[Path], normalized: Sequence[Path], *, progress: bool) -> dict[str, Any] | None:
    """Mean distance between the stains of any two slides; None for fewer than two that can be measured.

    Args:
        raw: parts of the raw store.
        normalized: parts of the normalized one, with the same patches in the same order.
        progress: show a bar on stderr.
    """
    left = Counter(map(slide_key, stream_rows(raw, columns=["slide_id", "source"])))
    sizes = dict(left)
    fits: dict[str, list[StainFit]] = {"raw": [], "normalized": []}
    pools: dict[str, tuple[PixelPool, PixelPool]] = {}
    columns = ["slide_id", "source", "image"]
    pairs = zip(stream_rows(raw, columns=columns), stream_rows(normalized, columns=columns), strict=True)
    for rows in tqdm(pairs, total=left.total(), desc="measuring", unit="patch", disable=not progress):
        name, images = slide_key(rows[0]), [decode_png(row["image"]["bytes"]) for row in rows]
        if name not in pools:
            pixels = sizes[name] * images[0].size // 3
            pools[name] = PixelPool(pixels, at_most=_MEASURED), PixelPool(pixels, at_most=_MEASURED)
        for pool, image in zip(pools[name], images, strict=True):
            pool.add(image)
        left[name] -= 1
        if not left[name] and (pair := _measure(*pools.pop(name))):
            for key, fit in zip(fits, pair, strict=True):
                fits[key].append(fit)
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
    """Fits of the pixels that are tissue before; None where either cannot be had."""
    tissue = is_tissue(raw.pixels)
    try:
        return REFERENCE_METHOD.estimate(raw.pixels[tissue]), REFERENCE_METHOD.estimate(normalized.pixels[tissue])
    except StainError:
        return None
