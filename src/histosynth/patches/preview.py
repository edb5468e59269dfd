"""Preview of a store: each slide with its outline and its regions, colored by outcome, and one page of all slides.

`STORE/preview/<slide_id>.png` is a thumbnail with the outline, the accepted regions, and the rejected ones, colored by
reason. `STORE/preview/index.html` shows all slides, including skipped ones, with smaller embedded images, so that the
page is complete in itself. Candidate regions are recomputed from the outline and the tissue, as for extraction; those
that quality control rejected are stored in the record of the part.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from histosynth.pages import data_uri, environment
from histosynth.patches.candidate_regions import CandidateRegions
from histosynth.patches.extract_slide import FLAWED, Job
from histosynth.patches.selection import propose_regions
from histosynth.rundir import atomic_write, write_text
from histosynth.slides.open import open_slide
from histosynth.store.part import part_record, read_corners

PREVIEW = "preview"
"""Folder inside the store."""

COLORS = {
    "extracted": "#00a651",
    "over_cap": "#7fb4e0",
    "outside_slide": "#9a9a9a",
    "outside_tumor": "#b8b8b8",
    "too_close": "#8c6bb1",
    "too_little_tissue": "#f2a900",
    "near_blank": "#d9c300",
    "overexposed": "#ff6ec7",
    "underexposed": "#6b4423",
    "pen": "#0038ff",
    "dark_line": "#111111",
    "blurred": "#e6001f",
}
"""Color of each outcome of a candidate region."""

PREVIEW_JPEG_QUALITY = 80
"""JPEG quality of the slide images that are embedded in the preview page."""

_EMBEDDED_PX = 640
_OUTLINE = "#ff2fd0"
_FAINT = frozenset({"outside_tumor", "outside_slide", "too_close"})
_IMAGE_PX = 1600
_MAX_IMAGE_PX = 4096
_MIN_REGION_PX = 10
_LEGEND_PX = 32


def write_preview(out: Path, jobs: Sequence[Job], *, manifest: Mapping[str, Any], progress: bool = True) -> Path:
    """Draw every slide that has a part, then the page; return the path of the page.

    Args:
        out: the store, with its parts and its manifest.
        jobs: one per part.
        manifest: the manifest of the store.
        progress: show a progress bar on stderr.
    """
    folder = out / PREVIEW
    folder.mkdir(exist_ok=True)
    embedded = {}
    for job in tqdm(jobs, desc="drawing previews", unit="slide", disable=not progress):
        # A lossless image in full, beside the page.
        image, shown = draw_preview(job)
        with atomic_write(folder / f"{job.slide_id}.png") as file:
            counts = {name: len(corners) for name, corners in shown.items()}
            with_legend(image, counts, outlined=job.outline is not None).save(file, format="PNG")
        # A small JPEG, embedded in the page.
        image.thumbnail((_EMBEDDED_PX, _EMBEDDED_PX))
        buffer = BytesIO()
        image.save(buffer, format="JPEG", quality=PREVIEW_JPEG_QUALITY)
        embedded[job.slide_id] = data_uri(buffer.getvalue(), "jpeg")
    page = (
        environment()
        .get_template("patches/templates/preview.html.j2")
        .render(manifest=manifest, embedded=embedded, colors=COLORS, outline=_OUTLINE)
    )
    write_text(folder / "index.html", page)
    return folder / "index.html"


def draw_preview(job: Job) -> tuple[Image.Image, dict[str, NDArray[np.int64]]]:
    """Draw the outline of a slide and the outcome of its regions on a thumbnail; also return the regions shown."""
    settings, record = job.settings, part_record(job.part)
    with open_slide(job.slide, mpp=job.mpp) as slide:
        area, candidates = propose_regions(slide, job)
        longest = max(slide.width_px, slide.height_px)
        # A region must be large enough to be visible.
        wanted = max(_IMAGE_PX, round(_MIN_REGION_PX * longest / candidates.extent))
        thumbnail = slide.thumbnail(min(wanted, _MAX_IMAGE_PX))
        scale = thumbnail.shape[1] / slide.width_px, thumbnail.shape[0] / slide.height_px
    outcomes = region_outcomes(candidates, extracted=read_corners(job.part), flawed=record[FLAWED])
    outline = area.polygons if job.outline is not None else shapely.MultiPolygon()
    # The thousands of random attempts outside the tumor carry no information.
    shown = {name: xy for name, xy in outcomes.items() if settings.placement == "grid" or name not in _FAINT}
    return draw_regions(thumbnail, shown, extent=candidates.extent, outline=outline, scale=scale), shown


def region_outcomes(
    candidates: CandidateRegions, *, extracted: NDArray[np.int64], flawed: Mapping[str, Sequence[Sequence[int]]]
) -> dict[str, NDArray[np.int64]]:
    """Return the corners (N, 2) of all candidate regions by outcome, in the order of `COLORS`."""
    rejected = {reason: np.array(corners, np.int64).reshape(-1, 2) for reason, corners in flawed.items()}
    read = {tuple(corner) for corners in (extracted, *rejected.values()) for corner in corners.tolist()}
    unread = [corner for corner in candidates.corners.tolist() if tuple(corner) not in read]
    outcomes = {
        **candidates.rejected_corners,
        **rejected,
        "over_cap": np.array(unread, np.int64).reshape(-1, 2),
        "extracted": extracted,
    }
    return {name: outcomes[name] for name in COLORS if name in outcomes}


def draw_regions(
    thumbnail: NDArray[np.uint8],
    outcomes: Mapping[str, NDArray[np.int64]],
    *,
    extent: int,
    outline: shapely.MultiPolygon,
    scale: tuple[float, float],
) -> Image.Image:
    """Draw regions and outline on a thumbnail (h, w, 3) of `scale` (x, y) pixels per level-0 pixel."""
    image = Image.fromarray(thumbnail).convert("RGB")
    pen = ImageDraw.Draw(image, "RGBA")
    thick = max(1, round(extent * scale[0] / 30))
    for name in sorted(outcomes, key=lambda name: (name not in _FAINT, name == "extracted")):
        color, faint = COLORS[name], name in _FAINT
        for x, y in outcomes[name].tolist():
            box = (x * scale[0], y * scale[1], (x + extent) * scale[0] - 1, (y + extent) * scale[1] - 1)
            pen.rectangle(box, outline=color, width=1 if faint else thick, fill=None if faint else f"{color}2c")
    for polygon in outline.geoms:
        for ring in (polygon.exterior, *polygon.interiors):
            points = shapely.get_coordinates(ring) * scale
            pen.line([(x, y) for x, y in points.tolist()], fill=_OUTLINE, width=2 + thick // 2, joint="curve")
    return image


def with_legend(image: Image.Image, counts: Mapping[str, int], *, outlined: bool) -> Image.Image:
    """Return the image with a legend below: color, name and number of regions per outcome, on one or more lines."""
    # Break the entries into lines of the width of the image.
    font = ImageFont.load_default(size=_LEGEND_PX * 0.6)
    lines: list[list[tuple[int, str, str]]] = [[]]
    left = _LEGEND_PX // 2
    outcomes = ((f"{name.replace('_', ' ')} {count}", COLORS[name]) for name, count in counts.items() if count)
    entries = [*([("outline", _OUTLINE)] if outlined else []), *outcomes]
    for text, color in entries:
        width = round(font.getlength(text)) + 2 * _LEGEND_PX
        if lines[-1] and left + width > image.width:
            lines.append([])
            left = _LEGEND_PX // 2
        lines[-1].append((left, text, color))
        left += width
    # Draw them below the image.
    sheet = Image.new("RGB", (image.width, image.height + len(lines) * _LEGEND_PX), "white")
    sheet.paste(image, (0, 0))
    pen = ImageDraw.Draw(sheet)
    for row, line in enumerate(lines):
        top = image.height + row * _LEGEND_PX
        for left, text, color in line:
            pen.rectangle((left, top + 8, left + _LEGEND_PX - 17, top + _LEGEND_PX - 9), fill=color)
            pen.text((left + _LEGEND_PX - 9, top + _LEGEND_PX / 2), text, fill="black", font=font, anchor="lm")
    return sheet
