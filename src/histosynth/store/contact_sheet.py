"""Contact sheets: many patches in one picture, a row or block of rows a label."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from histosynth.rundir import atomic_write

SYNTHETIC = "SYNTHETIC: made by a generative model"
"""The `Description` that every picture of synthetic patches carries."""
_TITLE_PX = 22


def contact_sheet(
    groups: Mapping[str, NDArray[np.uint8]], *, columns: int = 12, scale: int = 1, gap: int = 2
) -> NDArray[np.uint8]:
    """Lay out patches on white, each group under its name.

    Args:
        groups: name -> (N, S, S, 3).
        columns: patches a row.
        scale: whole factor by which patches are enlarged, without smoothing.
        gap: pixels between patches.

    Returns:
        (H, W, 3).
    """
    side = max((images.shape[1] for images in groups.values()), default=1) * scale
    step = side + gap
    heights = [_TITLE_PX + -(-len(images) // columns) * step for images in groups.values()]
    sheet = Image.new("RGB", (columns * step + gap, sum(heights) + gap), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    top = 0
    for (name, images), height in zip(groups.items(), heights, strict=True):
        draw.text((gap + 2, top + 2), name, fill="black", font=font)
        for i, patch in enumerate(images):
            tile = Image.fromarray(patch).resize(
                (patch.shape[1] * scale, patch.shape[0] * scale), Image.Resampling.NEAREST
            )
            sheet.paste(tile, (gap + i % columns * step, top + _TITLE_PX + i // columns * step))
        top += height
    return np.asarray(sheet)


def save_contact_sheet(
    path: Path, groups: Mapping[str, NDArray[np.uint8]], *, synthetic: bool, columns: int = 12
) -> None:
    """Write the sheet as PNG, enlarged to about 96 px a patch; a synthetic one says so in its metadata."""
    side = max((images.shape[1] for images in groups.values()), default=1)
    info = PngInfo()
    if synthetic:
        info.add_text("Description", SYNTHETIC)
    with atomic_write(path) as file:
        sheet = contact_sheet(groups, columns=columns, scale=max(round(96 / side), 1))
        Image.fromarray(sheet).save(file, format="PNG", pnginfo=info)
