"""Compositing on white: areas that were not scanned are transparent, and would be black without their alpha."""

import numpy as np
from numpy.typing import NDArray


def composite_on_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Composite pixels (H, W, 4) on white, (H, W, 3)."""
    color, alpha = rgba[..., :3], rgba[..., 3:].astype(np.uint16)
    if alpha.min(initial=255) == 255:
        return np.ascontiguousarray(color)
    return ((color * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
