"""Compositing on white: regions that were not scanned are transparent, and black where alpha is dropped."""

import numpy as np
from numpy.typing import NDArray


def composite_on_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Composite (H, W, 4) pixels on white, (H, W, 3): what was not scanned is transparent, black without its alpha."""
    color, alpha = rgba[..., :3], rgba[..., 3:].astype(np.uint16)
    if alpha.min(initial=255) == 255:
        return np.ascontiguousarray(color)
    return ((color * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
