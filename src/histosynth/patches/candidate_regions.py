"""The places of a slide at which a patch may be cut, in the order in which to take them, and why the others fell away.

All of it follows from the outline, the tissue mask and the settings, without a look at a region. So a preview finds
the same places again, and a slide's record need only hold those that its pixels ruled out.
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
    """Squares of `extent` level-0 pixels, in draw order."""

    corners: NDArray[np.int64]  # (N, 2): x, y
    tissue: NDArray[np.float64]  # (N,): share of each that is tissue
    extent: int
    candidate_count: int
    """Candidate regions tried in all."""
    rejected_corners: Mapping[str, NDArray[np.int64]]
    """Corners (N, 2) of those that fell away, by reason."""

    def __len__(self) -> int:
        return len(self.corners)

    @property
    def rejected(self) -> dict[str, int]:
        """How many places fell away, by reason."""
        return {reason: len(corners) for reason, corners in self.rejected_corners.items()}

    def boxes(self) -> Iterator[Box]:
        """The regions, in draw order."""
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
    """Propose regions inside `area`, drop those with too little tissue, and put the rest in draw order.

    Args:
        area: where patches may come from, in level-0 pixels; valid, its polygons disjoint.
        mask: the slide's tissue.
        bounds: the slide, in level-0 pixels.
        extent: side of a region, in level-0 pixels.
        settings: what to cut.
        slide_id: with `settings.seed`, the only source of chance.
    """
    step = max(1, round(settings.stride * extent))
    rng = slide_rng(settings.seed, slide_id, "places")
    if settings.sampling == "random":
        found = place_randomly(area, bounds=bounds, extent=extent, step=step, min_share=settings.min_tumor, rng=rng)
    else:
        found = place_on_grid(
            area,
            bounds=bounds,
            extent=extent,
            step=step,
            min_share=settings.min_tumor,
            jitter=settings.jitter,
            rng=rng,
        )
    tissue = np.array([mask.fraction(Box(x=x, y=y, width=extent, height=extent)) for x, y in found.corners.tolist()])
    passed = tissue >= settings.min_tissue
    corners = found.corners[passed]
    order = spatially_balanced_order(corners, rng=slide_rng(settings.seed, slide_id, "order"))
    return CandidateRegions(
        corners=corners[order],
        tissue=tissue[passed][order],
        extent=extent,
        candidate_count=found.candidate_count,
        rejected_corners={**found.rejected_corners, "too_little_tissue": found.corners[~passed]},
    )
