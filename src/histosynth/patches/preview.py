"""A look at a store: each slide with its outline and what became of every place on it, and a page with all of them.

`STORE/preview/<slide_id>.png` is a thumbnail with the outline, the patches taken, and the places left out, colored by
reason. `STORE/preview/index.html` shows all slides, skipped ones too, each with a smaller picture inside the page, so
that the page alone says all. The places are found again from the outline and the tissue, as they were for cutting;
those that quality control rejected stand in the part's record.
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
from histosynth.patches.extract_slide import FLAWED, Job, propose_regions
from histosynth.rundir import atomic_write, write_text
from histosynth.slides.open import open_slide
from histosynth.store.part import part_record, read_corners

PREVIEW = "preview"
"""Folder inside the store."""

COLORS = {
    "taken": "#00a651",
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
"""Color of each fate of a place."""

_OUTLINE = "#ff2fd0"
_FAINT = frozenset({"outside_tumor", "outside_slide", "too_close"})
_PICTURE_PX = 1600
_LARGEST_PX = 4096
_LEAST_REGION_PX = 10
_INLINE_PX = 640
_LEGEND_PX = 32


def write_preview(out: Path, jobs: Sequence[Job], *, manifest: Mapping[str, Any], progress: bool = True) -> Path:
    """Draw every slide that has a part, then the page; returns the page.

    Args:
        out: the store; its parts and its manifest are written.
        jobs: one for each part.
        manifest: the store's.
        progress: show a bar on stderr.
    """
    folder = out / PREVIEW
    folder.mkdir(exist_ok=True)
    inline = {}
    for job in tqdm(jobs, desc="drawing previews", unit="slide", disable=not progress):
        picture, shown = draw_preview(job)
        with atomic_write(folder / f"{job.slide_id}.png") as file:
            counts = {name: len(corners) for name, corners in shown.items()}
            with_legend(picture, counts, outlined=job.outline is not None).save(file, format="PNG")
        picture.thumbnail((_INLINE_PX, _INLINE_PX))
        buffer = BytesIO()
        picture.save(buffer, format="JPEG", quality=80)
        inline[job.slide_id] = data_uri(buffer.getvalue(), "jpeg")
    page = (
        environment()
        .get_template("patches/templates/preview.html.j2")
        .render(manifest=manifest, inline=inline, colors=COLORS, outline=_OUTLINE)
    )
    write_text(folder / "index.html", page)
    return folder / "index.html"


def draw_preview(job: Job) -> tuple[Image.Image, dict[str, NDArray[np.int64]]]:
    """The thumbnail of a slide that is cut, with its outline and the fate of every place; and the places shown."""
    settings, record = job.settings, part_record(job.part)
    with open_slide(job.slide, mpp=job.mpp) as slide:
        area, places = propose_regions(slide, job)
        longest = max(slide.width_px, slide.height_px)
        # A region must be large enough to be seen.
        wanted = max(_PICTURE_PX, round(_LEAST_REGION_PX * longest / places.extent))
        thumbnail = slide.thumbnail(min(wanted, _LARGEST_PX))
        scale = thumbnail.shape[1] / slide.width_px, thumbnail.shape[0] / slide.height_px
    fates = region_outcomes(places, taken=read_corners(job.part), flawed=record[FLAWED])
    outline = area.polygons if job.outline is not None else shapely.MultiPolygon()
    # Where darts missed says nothing, and there are thousands.
    shown = {name: at for name, at in fates.items() if settings.sampling == "grid" or name not in _FAINT}
    return draw_regions(thumbnail, shown, extent=places.extent, outline=outline, scale=scale), shown


def region_outcomes(
    places: CandidateRegions, *, taken: NDArray[np.int64], flawed: Mapping[str, Sequence[Sequence[int]]]
) -> dict[str, NDArray[np.int64]]:
    """Corners (N, 2) of all places by what became of them, in the order of `COLORS`."""
    gone = {reason: np.array(corners, np.int64).reshape(-1, 2) for reason, corners in flawed.items()}
    known = {tuple(corner) for corners in (taken, *gone.values()) for corner in corners.tolist()}
    rest = [corner for corner in places.corners.tolist() if tuple(corner) not in known]
    fates = {
        **places.rejected_corners,
        **gone,
        "over_cap": np.array(rest, np.int64).reshape(-1, 2),
        "taken": taken,
    }
    return {name: fates[name] for name in COLORS if name in fates}


def draw_regions(
    image: NDArray[np.uint8],
    fates: Mapping[str, NDArray[np.int64]],
    *,
    extent: int,
    outline: shapely.MultiPolygon,
    scale: tuple[float, float],
) -> Image.Image:
    """Draw places and outline on a thumbnail (h, w, 3) of `scale` (x, y) pixels per level-0 pixel."""
    picture = Image.fromarray(image).convert("RGB")
    pen = ImageDraw.Draw(picture, "RGBA")
    thick = max(1, round(extent * scale[0] / 30))
    for name in sorted(fates, key=lambda name: (name not in _FAINT, name == "taken")):
        color, faint = COLORS[name], name in _FAINT
        for x, y in fates[name].tolist():
            box = (x * scale[0], y * scale[1], (x + extent) * scale[0] - 1, (y + extent) * scale[1] - 1)
            pen.rectangle(box, outline=color, width=1 if faint else thick, fill=None if faint else f"{color}2c")
    for polygon in outline.geoms:
        for ring in (polygon.exterior, *polygon.interiors):
            points = shapely.get_coordinates(ring) * scale
            pen.line([(x, y) for x, y in points.tolist()], fill=_OUTLINE, width=2 + thick // 2, joint="curve")
    return picture


def with_legend(picture: Image.Image, counts: Mapping[str, int], *, outlined: bool) -> Image.Image:
    """The picture with the colors, names and numbers of its places below it, in as many lines as they need."""
    font = ImageFont.load_default(size=_LEGEND_PX * 0.6)
    lines: list[list[tuple[int, str, str]]] = [[]]
    left = _LEGEND_PX // 2
    found = ((f"{name.replace('_', ' ')} {count}", COLORS[name]) for name, count in counts.items() if count)
    entries = [*([("outline", _OUTLINE)] if outlined else []), *found]
    for text, color in entries:
        width = round(font.getlength(text)) + 2 * _LEGEND_PX
        if lines[-1] and left + width > picture.width:
            lines.append([])
            left = _LEGEND_PX // 2
        lines[-1].append((left, text, color))
        left += width
    sheet = Image.new("RGB", (picture.width, picture.height + len(lines) * _LEGEND_PX), "white")
    sheet.paste(picture, (0, 0))
    pen = ImageDraw.Draw(sheet)
    for row, line in enumerate(lines):
        top = picture.height + row * _LEGEND_PX
        for left, text, color in line:
            pen.rectangle((left, top + 8, left + _LEGEND_PX - 17, top + _LEGEND_PX - 9), fill=color)
            pen.text((left + _LEGEND_PX - 9, top + _LEGEND_PX / 2), text, fill="black", font=font, anchor="lm")
    return sheet
