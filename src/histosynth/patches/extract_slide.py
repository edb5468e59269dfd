"""One slide into one part of the store: propose regions, read, check, scale, normalize the stain, write.

The stain is fitted and applied after scaling. Area averaging adds up light, as an objective of lower power would, so
that the scaled patch shows what the microscope would have shown at that resolution. Fitting and training then use the
same pixels, at a fraction of the cost.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from histosynth.config import PatchSettings
from histosynth.errors import HistosynthError
from histosynth.normalization.staining import StainNormalization, normalize_slide
from histosynth.patches.candidate_regions import CandidateRegions, find_candidate_regions
from histosynth.patches.quality import FLAWS, find_flaw
from histosynth.patches.region import read_region, region_extent
from histosynth.remote import file_name
from histosynth.slides.annotations import SlideFrame, read_outlines
from histosynth.slides.open import open_slide
from histosynth.slides.tissue import tissue_mask
from histosynth.slides.types import Box, SlideReader
from histosynth.store.part import Patch, write_part
from histosynth.store.threads import map_in_threads

FLAWED = "flawed"
"""Key of a part's record: corners of the regions that quality control rejected, for previews. The manifest holds only
their number."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One slide to extract patches from: all inputs of its part, checked beforehand. It is sent to a worker process."""

    slide: Path
    slide_id: str
    patient_id: str
    label: str | None
    split: str
    mpp: float
    cap: int
    """Maximum number of patches: `patches.cap`, or this slide's share of `patches.cap_per_patient`."""
    outline: Path | None
    settings: PatchSettings
    staining: StainNormalization
    part: Path
    fingerprint: str


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


def propose_regions(slide: SlideReader, job: Job) -> tuple[TumorArea, CandidateRegions]:
    """Return the area that patches of a slide may come from, and its candidate regions in reading order."""
    area = tumor_area(slide, job.outline, mpp=job.mpp, settings=job.settings)
    candidates = find_candidate_regions(
        area.polygons,
        tissue_mask(slide),
        bounds=area.slide,
        extent=region_extent(job.settings, mpp=job.mpp),
        settings=job.settings,
        slide_id=job.slide_id,
    )
    return area, candidates


def extract_slide(job: Job) -> int:
    """Extract the patches of one slide, write its part, whole or not at all, and return the number of patches.

    Raises:
        HistosynthError: the slide or its outline cannot be read.
        OSError: the part cannot be written.
    """
    # Read and scale the regions.
    settings = job.settings
    with open_slide(job.slide, mpp=job.mpp) as slide:
        area, candidates = propose_regions(slide, job)
        selection = _select_regions(slide, candidates, job=job)
    # Normalize the stain of all patches together.
    corners = candidates.corners[selection.rows].tolist()
    patch_ids = [f"{job.slide_id}_{x}_{y}" for x, y in corners]
    stained = normalize_slide(dict(zip(patch_ids, selection.images, strict=True)), job.staining)
    # Write the part with its record for the manifest.
    tissue = candidates.tissue[selection.rows].tolist()
    patches = [
        Patch(
            patch_id=patch_id,
            image=image,
            source="real",
            label=job.label,
            slide_id=job.slide_id,
            patient_id=job.patient_id,
            x=x,
            y=y,
            extent=candidates.extent,
            mpp=settings.region_px * settings.region_mpp / settings.patch_px,
            tissue=share,
            split=job.split,
            stain=status,
        )
        for patch_id, (x, y), share, image, status in zip(
            patch_ids, corners, tissue, stained.images, stained.statuses, strict=True
        )
    ]
    record = {
        "slide_id": job.slide_id,
        "status": "done",
        "reason": None,
        "file": file_name(job.slide),
        "patient_id": job.patient_id,
        "label": job.label,
        "split": job.split,
        "mpp": job.mpp,
        "extent_px": candidates.extent,
        "outlines": area.record,
        "candidates": candidates.candidate_count,
        "rejected": {**candidates.rejected, **selection.rejected},
        "patches": len(patches),
        "stain": stained.record,
        FLAWED: selection.flawed,
    }
    write_part(job.part, patches, fingerprint=job.fingerprint, record=record)
    return len(patches)


@dataclass(frozen=True, kw_only=True)
class _Selection:
    """Candidate regions that become patches, in scan order, and the reasons for rejecting the others."""

    rows: list[int]
    images: list[NDArray[np.uint8]]
    flawed: dict[str, list[list[int]]]
    """Corners of the regions that quality control rejected, by reason."""
    rejected: dict[str, int]


def _select_regions(slide: SlideReader, candidates: CandidateRegions, *, job: Job) -> _Selection:
    """Read candidate regions in their order until `cap` of them pass quality control; scale these to patches."""
    images: dict[int, NDArray[np.uint8]] = {}
    flawed: dict[str, list[list[int]]] = {reason: [] for reason in FLAWS} if job.settings.quality else {}
    remaining = enumerate(candidates.boxes())
    # A batch holds as many regions as are still wanted, so that no region is read and then discarded.
    while batch := list(islice(remaining, job.cap - len(images))):
        results = map_in_threads(partial(_patch_or_flaw, slide, job=job), [box for _, box in batch])
        for (row, box), result in zip(batch, results, strict=True):
            if isinstance(result, str):
                flawed[result].append([box.x, box.y])
            else:
                images[row] = result
    rows = sorted(images, key=lambda row: (candidates.corners[row, 1], candidates.corners[row, 0]))
    rejected = {reason: len(corners) for reason, corners in flawed.items()}
    over_cap = len(candidates) - len(rows) - sum(rejected.values())
    return _Selection(
        rows=rows,
        images=[images[row] for row in rows],
        flawed=flawed,
        rejected={**rejected, "over_cap": over_cap},
    )


def _patch_or_flaw(slide: SlideReader, box: Box, *, job: Job) -> NDArray[np.uint8] | str:
    """Return the patch of a region, or the flaw for which it is rejected."""
    settings = job.settings
    region = read_region(slide, box, side_px=settings.patch_px, source=settings.read)
    if settings.quality and (flaw := find_flaw(region.pixels, mpp=job.mpp * region.downsample, settings=settings)):
        return flaw
    return region.scaled(settings.patch_px)
