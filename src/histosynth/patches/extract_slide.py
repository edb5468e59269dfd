"""One slide into one part of the store: propose places, read, check, scale, normalize the stain, write.

The stain is fitted and applied after scaling. Area averaging adds up light, as a weaker objective would, so the
scaled patch is what the microscope would have shown at that resolution; fit and use then see the same pixels, at a
fraction of the cost.
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
"""Key of a part's record: the places that quality control rejected. For previews; the manifest has their number."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One slide to cut: all that its part depends on, checked beforehand. It travels to a worker process."""

    slide: Path
    slide_id: str
    patient_id: str
    label: str | None
    split: str
    mpp: float
    cap: int
    """At most so many patches: `patches.cap`, or this slide's share of `patches.cap_per_patient`."""
    outline: Path | None
    settings: PatchSettings
    staining: StainNormalization
    part: Path
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class TumorArea:
    """Where patches may come from, in level-0 pixels, and what is to be told about it."""

    polygons: shapely.MultiPolygon
    slide: shapely.Polygon
    record: Mapping[str, Any] | None


def tumor_area(slide: SlideReader, outline: Path | None, *, mpp: float, settings: PatchSettings) -> TumorArea:
    """The outlined tumor on this slide; the whole slide where there is no outline.

    Raises:
        HistosynthError: the outline is unreadable, lacks the classes, cannot be placed, or lies outside the slide.
    """
    bounds = shapely.box(0, 0, slide.width_px, slide.height_px)
    if outline is None:
        return TumorArea(polygons=shapely.MultiPolygon([bounds]), slide=bounds, record=None)
    found = read_outlines(
        outline,
        tumor_classes=settings.tumor_classes,
        exclude_classes=settings.exclude_classes,
        frame=SlideFrame.of(slide),
        origin=settings.outline_origin,
    )
    pieces = [part for part in shapely.get_parts(shapely.intersection(found.tumor, bounds)) if part.area > 0]
    if not pieces:
        left, top, right, bottom = found.tumor.bounds
        raise HistosynthError(
            f"outline {outline} lies outside slide {slide.slide_id}: it spans x {left:.0f} to {right:.0f}, "
            f"y {top:.0f} to {bottom:.0f}, the slide {slide.width_px} x {slide.height_px} px; "
            "export it in full-resolution pixels of this very slide"
        )
    polygons = shapely.MultiPolygon(pieces)
    record = {
        "format": found.format,
        **found.counts,
        "tumor_mm2": round(polygons.area * (mpp / 1000) ** 2, 4),
        "share_outside_slide": round(max(0.0, 1 - polygons.area / found.tumor.area), 4),
    }
    return TumorArea(polygons=polygons, slide=bounds, record=record)


def propose_regions(slide: SlideReader, job: Job) -> tuple[TumorArea, CandidateRegions]:
    """Where patches of a slide may come from, and the places to try, in order."""
    area = tumor_area(slide, job.outline, mpp=job.mpp, settings=job.settings)
    places = find_candidate_regions(
        area.polygons,
        tissue_mask(slide),
        bounds=area.slide,
        extent=region_extent(job.settings, mpp=job.mpp),
        settings=job.settings,
        slide_id=job.slide_id,
    )
    return area, places


def extract_slide(job: Job) -> int:
    """Cut one slide and write its part, whole or not at all; return the number of patches.

    Raises:
        HistosynthError: the slide or its outline cannot be read.
        OSError: the part cannot be written.
    """
    settings = job.settings
    with open_slide(job.slide, mpp=job.mpp) as slide:
        area, places = propose_regions(slide, job)
        taken = _select_patches(slide, places, job=job)
    corners = places.corners[taken.rows].tolist()
    names = [f"{job.slide_id}_{x}_{y}" for x, y in corners]
    stained = normalize_slide(dict(zip(names, taken.images, strict=True)), job.staining)
    patches = [
        Patch(
            patch_id=name,
            image=image,
            source="real",
            label=job.label,
            slide_id=job.slide_id,
            patient_id=job.patient_id,
            x=x,
            y=y,
            extent=places.extent,
            mpp=settings.region_px * settings.region_mpp / settings.patch_px,
            tissue=share,
            split=job.split,
            stain=status,
        )
        for name, (x, y), share, image, status in zip(
            names, corners, places.tissue[taken.rows].tolist(), stained.images, stained.statuses, strict=True
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
        "extent_px": places.extent,
        "outlines": area.record,
        "candidates": places.candidate_count,
        "rejected": {**places.rejected, **taken.rejected},
        "patches": len(patches),
        "stain": stained.record,
        FLAWED: taken.flawed,
    }
    write_part(job.part, patches, fingerprint=job.fingerprint, record=record)
    return len(patches)


@dataclass(frozen=True, kw_only=True)
class _Selection:
    """The places that became patches, in scan order, and what became of the others."""

    rows: list[int]
    images: list[NDArray[np.uint8]]
    flawed: dict[str, list[list[int]]]
    """Corners of the regions that quality control rejected, by reason."""
    rejected: dict[str, int]


def _select_patches(slide: SlideReader, places: CandidateRegions, *, job: Job) -> _Selection:
    """Read places in their order until `cap` of them are sound; scale each to the size of a patch."""
    sound: dict[int, NDArray[np.uint8]] = {}
    flawed: dict[str, list[list[int]]] = {reason: [] for reason in FLAWS} if job.settings.quality else {}
    ahead = enumerate(places.boxes())
    # As many at a time as are still wanted: none is read in vain.
    while batch := list(islice(ahead, job.cap - len(sound))):
        looks = map_in_threads(partial(_patch_or_flaw, slide, job=job), [box for _, box in batch])
        for (row, box), look in zip(batch, looks, strict=True):
            if isinstance(look, str):
                flawed[look].append([box.x, box.y])
            else:
                sound[row] = look
    rows = sorted(sound, key=lambda row: (places.corners[row, 1], places.corners[row, 0]))
    rejected = {reason: len(corners) for reason, corners in flawed.items()}
    over_cap = len(places) - len(rows) - sum(rejected.values())
    return _Selection(
        rows=rows,
        images=[sound[row] for row in rows],
        flawed=flawed,
        rejected={**rejected, "over_cap": over_cap},
    )


def _patch_or_flaw(slide: SlideReader, box: Box, *, job: Job) -> NDArray[np.uint8] | str:
    """The patch of a region, or the flaw for which it is rejected."""
    settings = job.settings
    region = read_region(slide, box, side_px=settings.patch_px, source=settings.read)
    found = find_flaw(region.pixels, mpp=job.mpp * region.downsample, settings=settings) if settings.quality else None
    return found or region.scaled(settings.patch_px)
