"""Live preview: the patches that `histosynth patches` would take from a slide as it is outlined now.

Nothing is copied here. The preview reads the same GeoJSON and calls the same functions as the extraction does, quality
control included. It only remembers the tissue of a slide and the flaws of its regions, which no outline changes.
"""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from histosynth.annotate.catalog import Catalog
from histosynth.config import PatchSettings
from histosynth.errors import HistosynthError
from histosynth.patches.selection import SelectionInputs, examine_region, propose_regions, select_regions
from histosynth.slides.mpp import require_mpp
from histosynth.slides.tissue import TissueMask, tissue_mask
from histosynth.slides.types import Box, SlideReader

_MAX_REGIONS = 200_000
_MAX_SLIDES = 16


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What `patches` would do now.

    Attributes:
        extent_px: side of a region in level-0 pixels.
        accepted: (N, 2) upper left corners of the patches, in scan order.
        rejected: corners of the rejected candidates by reason, `over_cap` included.
    """

    extent_px: int
    accepted: NDArray[np.int64]
    rejected: dict[str, NDArray[np.int64]]


class Previewer:
    """Previews of the slides of a catalog, with the settings of `patches`."""

    def __init__(self, catalog: Catalog, settings: PatchSettings) -> None:
        self._catalog, self.settings = catalog, settings
        self._masks: OrderedDict[str, TissueMask] = OrderedDict()
        self._flaws: OrderedDict[tuple[str, int, int], str] = OrderedDict()
        self._lock = Lock()

    def preview(self, slide_id: str, outline: Path) -> Preview:
        """Return the patches that the outlines in a file would give.

        Raises:
            HistosynthError: there would be an error instead: no outline of the classes, no microns per pixel …
        """
        if not outline.exists():
            raise HistosynthError("nothing is outlined yet")
        with self._catalog.opened(slide_id) as slide:
            inputs = SelectionInputs(
                slide_id=slide_id,
                mpp=require_mpp(slide),
                cap=self.settings.cap,
                outline=outline,
                settings=self.settings,
            )
            _, candidates = propose_regions(slide, inputs, mask=self._mask(slide_id, slide))
            selection = select_regions(candidates, lambda box: self._examine(slide, box, inputs), inputs)
        rejected = dict(candidates.rejected_corners) | {
            reason: np.array(corners, np.int64).reshape(-1, 2) for reason, corners in selection.flawed.items()
        }
        flawed = {tuple(corner) for corners in selection.flawed.values() for corner in corners}
        accepted = candidates.corners[selection.rows]
        others = np.ones(len(candidates), bool)
        others[selection.rows] = False
        left = [corner for corner in candidates.corners[others].tolist() if tuple(corner) not in flawed]
        rejected["over_cap"] = np.array(left, np.int64).reshape(-1, 2)
        return Preview(
            extent_px=candidates.extent,
            accepted=accepted,
            rejected={reason: corners for reason, corners in rejected.items() if len(corners)},
        )

    def _mask(self, slide_id: str, slide: SlideReader) -> TissueMask:
        mask = self._masks.get(slide_id)
        if mask is None:
            mask = tissue_mask(slide)
            with self._lock:
                self._masks[slide_id] = mask
                if len(self._masks) > _MAX_SLIDES:
                    self._masks.popitem(last=False)
        return mask

    def _examine(self, slide: SlideReader, box: Box, inputs: SelectionInputs) -> str | None:
        """Return the flaw of a region, None if it has none."""
        key = inputs.slide_id, box.x, box.y
        flaw = self._flaws.get(key)
        if flaw is None:
            examined = examine_region(slide, box, inputs)
            flaw = examined if isinstance(examined, str) else ""
            with self._lock:
                self._flaws[key] = flaw
                if len(self._flaws) > _MAX_REGIONS:
                    self._flaws.popitem(last=False)
        return flaw or None
