"""Masks for inpainting: true where to inpaint."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histosynth.slides.image import ImageReader
from histosynth.slides.types import Box


def central_square(side_px: int, *, share: float) -> NDArray[np.bool_]:
    """Return a mask of that side, true in a central square whose side is `share` of it."""
    mask = np.zeros((side_px, side_px), dtype=bool)
    size = round(share * side_px)
    start = (side_px - size) // 2
    mask[start : start + size, start : start + size] = True
    return mask


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read the mask in an image file: true where the image is more white than black."""
    with ImageReader(path) as reader:
        image = reader.read(Box(x=0, y=0, width=reader.width_px, height=reader.height_px))
    return np.asarray(image.mean(axis=2) > 127.5)
