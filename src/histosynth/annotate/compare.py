"""Compare the outlines of two annotators, slide by slide and pooled: JSON, and a page with both drawn on each slide."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from tqdm import tqdm

from histosynth.annotate.agreement import Agreement, Comparison, agreement, compare_outlines
from histosynth.config import PatchSettings
from histosynth.errors import HistosynthError
from histosynth.pages import data_uri, environment
from histosynth.patches.placement import inside_share
from histosynth.patches.region import region_extent
from histosynth.patches.selection import TumorArea, tumor_area
from histosynth.rundir import exclusive_lock, write_json, write_text
from histosynth.slides.annotations import find_outlines
from histosynth.slides.files import find_slides, slide_id_of
from histosynth.slides.mpp import require_mpp
from histosynth.slides.open import open_slide
from histosynth.slides.tissue import tissue_mask
from histosynth.slides.types import Box, SlideReader

PAGE, FACTS = "index.html", "agreement.json"
COLORS = {"a": "#ff9d00", "b": "#00b4ff"}
_PICTURE_PX, _LINE_PX, _JPEG_QUALITY = 900, 3, 82


@dataclass(frozen=True, kw_only=True)
class ComparedSlide:
    """One slide: its agreement, or the reason why there is none."""

    slide_id: str
    agreement: Agreement | None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class OutlineComparison:
    """All slides.

    Attributes:
        slides: in the order of their ids.
        pooled: the agreement on all slides that both annotators outlined.
        page: the page, if it was written.
    """

    slides: tuple[ComparedSlide, ...]
    pooled: Agreement
    page: Path | None

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the JSON."""
        return {"pooled": asdict(self.pooled), "slides": [asdict(slide) for slide in self.slides]}


def compare_annotators(
    a: Path,
    b: Path,
    *,
    slides: Sequence[Path],
    settings: PatchSettings,
    mpp: float | None = None,
    out: Path | None = None,
    progress: bool = True,
) -> OutlineComparison:
    """Compare the outlines of two annotators.

    Args:
        a: folder of outlines of the first annotator, named like the slides.
        b: that of the second.
        slides: slides, and folders of slides.
        settings: classes of the tumor, size of the patches, and the shares of tissue and tumor that make a patch.
        mpp: microns per pixel of slides that state none.
        out: directory of the page and its JSON; None: neither is written.
        progress: show a progress bar on stderr.

    Raises:
        HistosynthError: no slide was outlined by both, or a slide or an outline cannot be read.
    """
    for folder in (a, b):
        if not folder.is_dir():
            raise HistosynthError(f"no folder of outlines '{folder}'; pass the folder of an annotator")
    compared, parts, pictures = [], [], {}
    for path in tqdm(find_slides(slides), desc="comparing", unit="slide", disable=not progress):
        slide_id = slide_id_of(path)
        files = find_outlines(a, slide_id), find_outlines(b, slide_id)
        if missing := [str(folder) for folder, file in zip((a, b), files, strict=True) if file is None]:
            compared.append(
                ComparedSlide(slide_id=slide_id, agreement=None, reason=f"no outline in {' and '.join(missing)}")
            )
            continue
        with open_slide(path, mpp=mpp) as slide:
            scale = require_mpp(slide)
            areas = [tumor_area(slide, file, mpp=scale, settings=settings) for file in files]
            part = _compare(slide, *areas, mpp=scale, settings=settings)
            if out is not None:
                pictures[slide_id] = _draw(slide, areas)
        parts.append(part)
        compared.append(ComparedSlide(slide_id=slide_id, agreement=agreement([part])))
    if not parts:
        raise HistosynthError(f"no slide has outlines in both {a} and {b}; files are named like the slides")
    result = OutlineComparison(
        slides=tuple(compared), pooled=agreement(parts), page=None if out is None else out / PAGE
    )
    if out is not None:
        with exclusive_lock(out):
            write_json(out / FACTS, result.to_dict())
            write_text(out / PAGE, _page(result, a=a, b=b, pictures=pictures, settings=settings))
    return result


def _compare(slide: SlideReader, a: TumorArea, b: TumorArea, *, mpp: float, settings: PatchSettings) -> Comparison:
    """Compare two outlines of a slide, and the squares of the patch grid that have enough tissue."""
    extent = region_extent(settings, mpp=mpp)
    xs, ys = (np.arange(0, size - extent + 1, extent) for size in (slide.width_px, slide.height_px))
    corners = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    mask = tissue_mask(slide)
    boxes = [Box(x=x, y=y, width=extent, height=extent) for x, y in corners.tolist()]
    corners = corners[np.array([mask.fraction(box) for box in boxes], float) >= settings.min_tissue]
    decisions = [inside_share(area.polygons, corners, extent=extent) >= settings.min_tumor for area in (a, b)]
    return compare_outlines(a.polygons, b.polygons, mpp=mpp, decisions=np.stack(decisions))


def _draw(slide: SlideReader, areas: Sequence[TumorArea]) -> str:
    """Draw both outlines on a thumbnail, as a `data:` URL."""
    thumbnail: NDArray[np.uint8] = slide.thumbnail(_PICTURE_PX)
    image = Image.fromarray(thumbnail).convert("RGB")
    scale = image.width / slide.width_px, image.height / slide.height_px
    pen = ImageDraw.Draw(image)
    for area, color in zip(areas, COLORS.values(), strict=True):
        for ring in shapely.get_rings(shapely.get_parts(area.polygons)):
            points = shapely.get_coordinates(ring) * scale
            pen.line([(x, y) for x, y in points.tolist()], fill=color, width=_LINE_PX, joint="curve")
    buffer = BytesIO()
    image.save(buffer, format="JPEG", quality=_JPEG_QUALITY)
    return data_uri(buffer.getvalue(), "jpeg")


def _page(result: OutlineComparison, *, a: Path, b: Path, pictures: dict[str, str], settings: PatchSettings) -> str:
    names = (a.name, b.name) if a.name != b.name else (str(a), str(b))
    template = environment().get_template("annotate/templates/compare.html.j2")
    return template.render(
        result=result, names=names, colors=COLORS, pictures=pictures,
        region_um=settings.region_px * settings.region_mpp, settings=settings,
    )  # fmt: skip
