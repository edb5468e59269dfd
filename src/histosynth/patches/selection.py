"""Which regions of a slide become patches: inside the outline, with enough tissue, without a flaw, at most `cap`.

Extraction and the live preview of the outlining tool both decide here. Candidates are examined in their order until
enough of them have passed, so that no region is read without need.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

import shapely

from histosynth.config import PatchSettings
from histosynth.errors import HistosynthError
from histosynth.patches.candidate_regions import CandidateRegions, find_candidate_regions
from histosynth.patches.quality import FLAWS, find_flaw
from histosynth.patches.region import Region, read_region, region_extent
from histosynth.slides.annotations import SlideFrame, read_outlines
from histosynth.slides.tissue import TissueMask, tissue_mask
from histosynth.slides.types import Box, SlideReader
from histosynth.store.threads import map_in_threads

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class SelectionInputs:
    """Everything that decides, together with the slide itself, which of its regions become patches."""

    slide_id: str
    mpp: float
    cap: int
    """Maximum number of patches: `patches.cap`, or this slide's share of `patches.cap_per_patient`."""
    outline: Path | None
    settings: PatchSettings


@dataclass(frozen=True, kw_only=True)
class TumorArea:
    """Area that patches may come from, in level-0 pixels, and its record for the manifest."""

    polygons: shapely.MultiPolygon
    slide: shapely.Polygon
    record: Mapping[str, Any] | None


def tumor_area(slide: SlideReader, outline: Path | None, *, mpp: float, settings: PatchSettings) -> TumorArea:
    """Return the outlined tumor on a slide, or the whole slide if there is no outline.

    Raises:
        HistosynthError: the outline is unreadable, lacks the classes, cannot be positioned, or lies outside the slide.
    """
    # Without an outline, patches may come from anywhere on the slide.
    bounds = shapely.box(0, 0, slide.width_px, slide.height_px)
    if outline is None:
        return TumorArea(polygons=shapely.MultiPolygon([bounds]), slide=bounds, record=None)
    # Clip the outline to the slide.
    outlines = read_outlines(
        outline,
        tumor_classes=settings.tumor_classes,
        exclude_classes=settings.exclude_classes,
        frame=SlideFrame.of(slide),
        origin=settings.outline_origin,
    )
    clipped = [part for part in shapely.get_parts(shapely.intersection(outlines.tumor, bounds)) if part.area > 0]
    if not clipped:
        left, top, right, bottom = outlines.tumor.bounds
        raise HistosynthError(
            f"outline {outline} lies outside slide {slide.slide_id}: it spans x {left:.0f} to {right:.0f}, "
            f"y {top:.0f} to {bottom:.0f}, the slide {slide.width_px} x {slide.height_px} px; "
            "export it in full-resolution pixels of this slide"
        )
    # Describe it for the manifest.
    polygons = shapely.MultiPolygon(clipped)
    record = {
        "format": outlines.format,
        **outlines.counts,
        "tumor_mm2": round(polygons.area * (mpp / 1000) ** 2, 4),
        "share_outside_slide": round(max(0.0, 1 - polygons.area / outlines.tumor.area), 4),
    }
    return TumorArea(polygons=polygons, slide=bounds, record=record)


def propose_regions(
    slide: SlideReader, inputs: SelectionInputs, *, mask: TissueMask | None = None
) -> tuple[TumorArea, CandidateRegions]:
    """Return the area that patches of a slide may come from, and its candidate regions in reading order.

    Args:
        slide: the opened slide.
        inputs: the outline and the settings.
        mask: the tissue of the slide, if it is known already.
    """
    area = tumor_area(slide, inputs.outline, mpp=inputs.mpp, settings=inputs.settings)
    candidates = find_candidate_regions(
        area.polygons,
        mask or tissue_mask(slide),
        bounds=area.slide,
        extent=region_extent(inputs.settings, mpp=inputs.mpp),
        settings=inputs.settings,
        slide_id=inputs.slide_id,
    )
    return area, candidates


@dataclass(frozen=True, kw_only=True)
class Selection(Generic[T]):
    """The candidate regions that were selected, in scan order, and the reasons for rejecting the others."""

    rows: list[int]
    """Their numbers among the candidates."""
    results: list[T]
    """What examining them gave."""
    flawed: dict[str, list[list[int]]]
    """Corners of the regions that quality control rejected, by reason."""
    rejected: dict[str, int]


def select_regions(
    candidates: CandidateRegions, examine: Callable[[Box], T | str], inputs: SelectionInputs
) -> Selection[T]:
    """Examine candidate regions in their order until `cap` of them have passed.

    Args:
        candidates: in the order in which they are read.
        examine: returns a region's flaw, or anything but a text if it has none; it is called in threads.
        inputs: cap and settings.
    """
    passed: dict[int, T] = {}
    flawed: dict[str, list[list[int]]] = {reason: [] for reason in FLAWS} if inputs.settings.quality else {}
    remaining = enumerate(candidates.boxes())
    # A batch holds as many regions as are still wanted, so that no region is read and then discarded.
    while batch := list(islice(remaining, inputs.cap - len(passed))):
        results = map_in_threads(examine, [box for _, box in batch])
        for (row, box), result in zip(batch, results, strict=True):
            if isinstance(result, str):
                flawed[result].append([box.x, box.y])
            else:
                passed[row] = result
    rows = sorted(passed, key=lambda row: (candidates.corners[row, 1], candidates.corners[row, 0]))
    rejected = {reason: len(corners) for reason, corners in flawed.items()}
    over_cap = len(candidates) - len(rows) - sum(rejected.values())
    return Selection(
        rows=rows,
        results=[passed[row] for row in rows],
        flawed=flawed,
        rejected={**rejected, "over_cap": over_cap},
    )


def examine_region(slide: SlideReader, box: Box, inputs: SelectionInputs) -> Region | str:
    """Read a region; return it, or the flaw for which it is rejected."""
    settings = inputs.settings
    region = read_region(slide, box, side_px=settings.patch_px, source=settings.read)
    flaw = find_flaw(region.pixels, mpp=inputs.mpp * region.downsample, settings=settings) if settings.quality else None
    return flaw or region
