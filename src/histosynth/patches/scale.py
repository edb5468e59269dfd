"""Scaling by area averaging: an output pixel is the mean of the light that falls on its square.

Along one axis of n pixels shrunk to m, cut the axis into n·m units: input pixel i covers [i·m, (i+1)·m), output pixel
j covers [j·n, (j+1)·n). The weight of i in j is the length they share, a whole number, and the weights of j add up to
n. So the whole average is integer arithmetic with one division at the end: exact at any ratio, and the same bits on
every machine. (Pillow's BOX filter weighs every touched pixel 0 or 1, which is an area average at whole ratios only.)
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array


def area_average(image: NDArray[np.uint8], *, side_px: int) -> NDArray[np.uint8]:
    """Shrink a square (n, n, 3) image to (side_px, side_px, 3), rounding half up; side_px <= n."""
    side = image.shape[0]
    if image.shape[1] != side or side_px > side:
        raise ValueError(f"cannot area-average {image.shape[1]}x{side} px to {side_px}x{side_px} px")
    if side == side_px:
        return image.copy()
    weights = _weights(side, side_px)
    rows = (weights @ image.reshape(side, -1).astype(np.int64)).reshape(side_px, side, 3)
    columns = weights @ rows.transpose(1, 0, 2).reshape(side, -1)
    total = columns.reshape(side_px, side_px, 3).transpose(1, 0, 2)
    average: NDArray[np.uint8] = ((2 * total + side**2) // (2 * side**2)).astype(np.uint8)
    return average


@lru_cache(maxsize=8)
def _weights(n: int, m: int) -> csr_array:
    """(m, n) lengths that the n input and m output pixels share, in units of 1/(n·m) of the axis."""
    edges = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    start = edges[:-1]
    return csr_array((np.diff(edges), (start // n, start // m)), shape=(m, n))
