"""One slide into one part of the store: select regions, read, scale, normalize the stain, write.

The stain is fitted and applied after scaling. Area averaging adds up light, as an objective of lower power would, so
that the scaled patch shows what the microscope would have shown at that resolution. Fitting and training then use the
same pixels, at a fraction of the cost.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histosynth.normalization.staining import StainNormalization, normalize_slide
from histosynth.patches.selection import SelectionInputs, examine_region, propose_regions, select_regions
from histosynth.remote import file_name
from histosynth.slides.open import open_slide
from histosynth.slides.types import Box, SlideReader
from histosynth.store.part import Patch, write_part

FLAWED = "flawed"
"""Key of a part's record: corners of the regions that quality control rejected, for previews. The manifest holds only
their number."""


@dataclass(frozen=True, kw_only=True)
class Job(SelectionInputs):
    """One slide to extract patches from: all inputs of its part, checked beforehand. It is sent to a worker process."""

    slide: Path
    patient_id: str
    label: str | None
    split: str
    staining: StainNormalization
    part: Path
    fingerprint: str


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
        selection = select_regions(candidates, partial(_patch_or_flaw, slide, job=job), job)
    # Normalize the stain of all patches together.
    corners = candidates.corners[selection.rows].tolist()
    patch_ids = [f"{job.slide_id}_{x}_{y}" for x, y in corners]
    stained = normalize_slide(dict(zip(patch_ids, selection.results, strict=True)), job.staining)
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


def _patch_or_flaw(slide: SlideReader, box: Box, *, job: Job) -> NDArray[np.uint8] | str:
    """Return the patch of a region, or the flaw for which it is rejected."""
    region = examine_region(slide, box, job)
    return region if isinstance(region, str) else region.scaled(job.settings.patch_px)
