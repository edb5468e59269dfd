"""What normalization did, by slide: raw patches on the left, and the same patches normalized on the right.

`OUT/preview/stain.png` shows a dozen slides, evenly spaced among all, each with some of its patches and its status.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from histosynth.rundir import atomic_write
from histosynth.store.png import encode_png
from histosynth.store.store import Store

T = TypeVar("T")
PREVIEW = "preview"
_SLIDES, _PATCHES = 12, 4
_PATCH_PX, _GAP_PX, _TITLE_PX, _MIDDLE_PX = 112, 3, 22, 24


def write_stain_preview(out: Path, *, raw: Path) -> Path:
    """Draw some slides of a normalized store beside their raw patches, and return the path of the image.

    Args:
        out: the normalized store.
        raw: the store that it was made from.
    """
    # Slides and patches to show
    before, after = Store(raw), Store(out)
    slides: dict[str, list[int]] = {}
    for row, (slide, source) in enumerate(zip(after.column("slide_id"), after.column("source"), strict=True)):
        slides.setdefault(slide or source, []).append(row)
    names = _evenly_spaced(list(slides), _SLIDES)
    chosen = {name: _evenly_spaced(slides[name], _PATCHES) for name in names}

    # Layout
    columns = max(map(len, chosen.values()))
    half = columns * (_PATCH_PX + _GAP_PX) - _GAP_PX
    blocks_per_row = max(1, _PATCHES // columns)
    block_width, block_height = 2 * half + _MIDDLE_PX, _TITLE_PX + _PATCH_PX + _GAP_PX
    width = blocks_per_row * block_width + (blocks_per_row - 1) * 2 * _MIDDLE_PX
    sheet = Image.new("RGB", (width, 2 * _TITLE_PX + -(-len(names) // blocks_per_row) * block_height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    pen.text((0, 2), _truncated(_title(after), width, font), fill="black", font=font)

    # One block per slide
    statuses = after.column("stain")
    for i, (name, rows) in enumerate(chosen.items()):
        left = i % blocks_per_row * (block_width + 2 * _MIDDLE_PX)
        top = 2 * _TITLE_PX + i // blocks_per_row * block_height
        counted = Counter(statuses[row] for row in slides[name])
        summary = ", ".join(status if len(counted) == 1 else f"{n} {status}" for status, n in counted.items())
        for start, text, store in ((left, name, before), (left + half + _MIDDLE_PX, summary, after)):
            pen.text((start, top), _truncated(text, half, font), fill="#555555", font=font)
            for column, image in enumerate(store.images(rows)):
                sheet.paste(_scaled(image), (start + column * (_PATCH_PX + _GAP_PX), top + _TITLE_PX))

    path = out / PREVIEW / "stain.png"
    path.parent.mkdir(exist_ok=True)
    with atomic_write(path) as file:
        file.write(encode_png(np.asarray(sheet), after.mark))
    return path


def _evenly_spaced(items: Sequence[T], count: int) -> list[T]:
    """Return at most `count` items, evenly spaced from the first to the last."""
    return [items[i] for i in np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)]


def _title(after: Store) -> str:
    done = after.manifest["staining"]
    spread = done["between_slides"]
    distances = (
        f"; distance between slides {spread['raw']:.3f} raw, {spread['normalized']:.3f} normalized" if spread else ""
    )
    return f"left raw, right {done['method']}{distances}"


def _truncated(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Return the text, shortened to the width."""
    while font.getlength(text) > width:
        text = text[:-2] + "…"
    return text


def _scaled(image: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(image).resize((_PATCH_PX, _PATCH_PX), Image.Resampling.LANCZOS)
