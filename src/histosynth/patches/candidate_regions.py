"""Candidate regions of a slide, in the order in which they are read, and the reasons for which others were rejected.

Everything here follows from the outline, the tissue mask and the settings; no region is read. A preview can therefore
reproduce the candidates, and the record of a slide needs to store only the regions that quality control rejected.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from histosynth.config import PatchSettings
from histosynth.patches.grid_placement import place_on_grid
from histosynth.patches.random_placement import place_randomly
from histosynth.patches.spatial_order import slide_rng, spatially_balanced_order
from histosynth.slides.tissue import TissueMask
from histosynth.slides.types import Box


@dataclass(frozen=True, kw_only=True)
class CandidateRegions:
    """Squares of `extent` level-0 pixels, in the order in which they are read."""

    corners: NDArray[np.int64]  # (N, 2): x, y
    tissue: NDArray[np.float64]  # (N,): tissue fraction of each region
    extent: int
    candidate_count: int
    """Number of regions proposed, rejected ones included."""
    rejected_corners: Mapping[str, NDArray[np.int64]]
    """Corners (N, 2) of the rejected regions, by reason."""

    def __len__(self) -> int:
        return len(self.corners)

    @property
    def rejected(self) -> dict[str, int]:
        """Number of rejected regions, by reason."""
        return {reason: len(corners) for reason, corners in self.rejected_corners.items()}

    def boxes(self) -> Iterator[Box]:
        """Yield the regions in reading order."""
        for x, y in self.corners.tolist():
            yield Box(x=x, y=y, width=self.extent, height=self.extent)


def find_candidate_regions(
    area: shapely.MultiPolygon,
    mask: TissueMask,
    *,
    bounds: shapely.Polygon,
    extent: int,
    settings: PatchSettings,
    slide_id: str,
) -> CandidateRegions:
    """Propose regions inside `area`, reject those with too little tissue, and order the rest.

    Args:
        area: where patches may come from, in level-0 pixels; valid, with disjoint polygons.
        mask: the tissue of the slide.
        bounds: the slide, in level-0 pixels.
        extent: side of a region, in level-0 pixels.
        settings: placement, thresholds and seed.
        slide_id: together with `settings.seed`, the only source of randomness.
    """
    # Propose regions inside the outline.
    step = max(1, round(settings.stride * extent))
    rng = slide_rng(settings.seed, slide_id, "places")  # the purpose is part of the seed: another name, other patches
    if settings.placement == "random":
        placement = place_randomly(area, bounds=bounds, extent=extent, step=step, min_share=settings.min_tumor, rng=rng)
    else:
        placement = place_on_grid(
            area,
            bounds=bounds,
            extent=extent,
            step=step,
            min_share=settings.min_tumor,
            jitter=settings.jitter,
            rng=rng,
        )
    # Reject regions with too little tissue.
    boxes = [Box(x=x, y=y, width=extent, height=extent) for x, y in placement.corners.tolist()]
    tissue = np.array([mask.fraction(box) for box in boxes])
    passed = tissue >= settings.min_tissue
    # Order the remaining regions.
    corners = placement.corners[passed]
    order = spatially_balanced_order(corners, rng=slide_rng(settings.seed, slide_id, "order"))
    return CandidateRegions(
        corners=corners[order],
        tissue=tissue[passed][order],
        extent=extent,
        candidate_count=placement.candidate_count,
        rejected_corners={**placement.rejected_corners, "too_little_tissue": placement.corners[~passed]},
    )
