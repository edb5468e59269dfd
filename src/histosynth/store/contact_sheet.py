"""Contact sheets: many patches in one image, in a plain grid or in groups under their names."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from histosynth.rundir import atomic_write
from histosynth.store.png import encode_png

GAP_PX = 4
"""Pixels between the patches of a grid."""
_TITLE_PX = 22
_SHOWN_PX = 96  # about the side of a patch on a sheet that is written


def grid(
    images: NDArray[np.uint8], *, columns: int, scale: int | None = None, gap_px: int = GAP_PX
) -> NDArray[np.uint8]:
    """Lay out patches on white, row by row, without a margin.

    Args:
        images: (N, S, S, 3).
        columns: patches per row.
        scale: whole factor by which patches are enlarged, by pixel repetition; None: that of `shown_px`.
        gap_px: pixels between patches.

    Returns:
        (H, W, 3).
    """
    factor = scale or shown_px(images.shape[1]) // images.shape[1]
    large = images.repeat(factor, axis=1).repeat(factor, axis=2)
    step = large.shape[1] + gap_px
    rows = -(-len(large) // columns)
    sheet = np.full((max(rows * step - gap_px, 0), columns * step - gap_px, 3), 255, dtype=np.uint8)
    for i, image in enumerate(large):
        y, x = i // columns * step, i % columns * step
        sheet[y : y + image.shape[0], x : x + image.shape[1]] = image
    return sheet


def shown_px(patch_px: int) -> int:
    """Return the side at which a patch is shown: the least whole multiple of at least 80 pixels, to keep pixels square.

    Args:
        patch_px: side of the patch.
    """
    return patch_px * -(-80 // patch_px)


def contact_sheet(
    groups: Mapping[str, NDArray[np.uint8]], *, columns: int = 12, scale: int = 1, gap_px: int = 2
) -> NDArray[np.uint8]:
    """Lay out patches on white, each group under its name.

    Args:
        groups: name -> (N, S, S, 3), of one size.
        columns: patches per row.
        scale: whole factor by which patches are enlarged, by pixel repetition.
        gap_px: pixels between patches, and around them.

    Returns:
        (H, W, 3).
    """
    step = _side_px(groups) * scale + gap_px
    heights = [_TITLE_PX + -(-len(images) // columns) * step for images in groups.values()]
    sheet = Image.new("RGB", (columns * step + gap_px, sum(heights) + gap_px), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    top = 0
    for (name, images), height in zip(groups.items(), heights, strict=True):
        draw.text((gap_px + 2, top + 2), name, fill="black", font=font)
        if len(images):
            block = grid(images, columns=columns, scale=scale, gap_px=gap_px)
            sheet.paste(Image.fromarray(block), (gap_px, top + _TITLE_PX))
        top += height
    return np.asarray(sheet)


def save_contact_sheet(
    path: Path, groups: Mapping[str, NDArray[np.uint8]], *, texts: Mapping[str, str] | None = None, columns: int = 12
) -> None:
    """Write the sheet as a PNG, enlarged to about 96 px per patch.

    Args:
        path: the file.
        groups: as in `contact_sheet`.
        texts: what the PNG states; where any patch is synthetic, `png.synthetic_mark`.
        columns: patches per row.
    """
    sheet = contact_sheet(groups, columns=columns, scale=max(round(_SHOWN_PX / _side_px(groups)), 1))
    with atomic_write(path) as file:
        file.write(encode_png(sheet, texts))


def _side_px(groups: Mapping[str, NDArray[np.uint8]]) -> int:
    return max((images.shape[1] for images in groups.values()), default=1)
