"""Tissue mask of a slide at low resolution.

Glass is bright in all channels; every stain is dark in at least one channel, and colored. The measure of a pixel is
therefore the sum of darkness and saturation in optical density d relative to the glass, max d + (max d - min d) over
the channels, and Otsu's threshold (1979) splits it into two classes. Otsu's method also splits a single class, so its
threshold is used only if the lower class is glass and the upper is not. Otherwise a fixed threshold decides, so that an
image of tissue alone stays complete and a blank slide stays empty.

Marker ink, and tissue below it, does not count as tissue: pixels of a color that no stain has (`slides.ink`), and their
rim, where ink and glass mix in one pixel, are excluded from the mask and from Otsu's histogram.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from histosynth.slides.ink import is_ink
from histosynth.slides.types import Box, SlideReader

_MAX_PX = 1024
_MIN_DOWNSAMPLE = 8  # finer than this, the pale space between nuclei would count as glass
_GLASS = 0.12  # largest mean measure of glass
_CLIP = 0.4  # most tissue is above, ink and folds far above; clipping keeps them from hiding pale tissue
_LOWEST_THRESHOLD = 0.06
_DIMMEST_GLASS = 200
_INK_RIM = 3  # pixels of the thumbnail
_SMALL = 2e-4  # specks and holes below this share of the slide are removed


@dataclass(frozen=True)
class TissueMask:
    """Tissue of a slide. `downsample_x` and `downsample_y` are level-0 pixels per mask pixel.

    Attributes:
        mask: (h, w), True for tissue.
    """

    mask: NDArray[np.bool_]
    downsample_x: float
    downsample_y: float

    def fraction(self, box: Box) -> float:
        """Return the tissue fraction of the box, in [0, 1]; exact for the mask, with partial pixels at the edges.

        The outside of the slide does not count as tissue.
        """
        rows, row_weights = _overlap(box.y / self.downsample_y, box.height / self.downsample_y, self.mask.shape[0])
        columns, column_weights = _overlap(box.x / self.downsample_x, box.width / self.downsample_x, self.mask.shape[1])
        return float(row_weights @ self.mask[rows, columns] @ column_weights)


def tissue_mask(slide: SlideReader) -> TissueMask:
    """Find the tissue of a slide on a thumbnail of at most 1024 pixels, and at most an eighth of its size."""
    longest = max(slide.width_px, slide.height_px)
    image = slide.thumbnail(max(1, min(_MAX_PX, longest // _MIN_DOWNSAMPLE)))
    mask = _segment(image)
    return TissueMask(mask, slide.width_px / mask.shape[1], slide.height_px / mask.shape[0])


def _segment(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the mask (h, w) of an image (h, w, 3)."""
    # One glass level for all channels: glass is gray, and without glass the lightest color must not count as glass.
    glass = np.clip(np.percentile(image, 99, axis=(0, 1)).max(), _DIMMEST_GLASS, 255)
    smooth = ndimage.gaussian_filter(image.astype(np.float32), (1, 1, 0))
    density = np.log(np.float32(glass + 1)) - np.log(smooth + 1)
    red, green, blue = np.moveaxis(density, -1, 0)
    darkest, palest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    measure = 2 * darkest - palest
    smallest = max(4, round(_SMALL * measure.size))
    ink = _remove_small(is_ink(density), smallest)
    ink = ndimage.binary_dilation(ink, iterations=_INK_RIM) if ink.any() else ink
    mask = (measure > _threshold(measure[~ink])) & ~ink
    return ~_remove_small(~_remove_small(mask, smallest), smallest)


def _threshold(measure: NDArray[np.floating]) -> float:
    clipped = np.clip(measure, 0, _CLIP)
    threshold = otsu(clipped)
    lower, upper = clipped[clipped <= threshold], clipped[clipped > threshold]
    if lower.size and upper.size and lower.mean() < _GLASS < upper.mean():
        return max(threshold, _LOWEST_THRESHOLD)
    return _GLASS


def otsu(values: NDArray[np.floating], *, bins: int = 256) -> float:
    """Return the threshold with the largest variance between the classes below and above it (Otsu 1979)."""
    counts, edges = np.histogram(values, bins)
    centers = (edges[:-1] + edges[1:]) / 2
    below, sum_below = np.cumsum(counts), np.cumsum(counts * centers)
    above = below[-1] - below
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = sum_below / below - (sum_below[-1] - sum_below) / above
    between = np.nan_to_num(below * above * difference**2)
    return float(edges[1 + between.argmax()])


def _remove_small(mask: NDArray[np.bool_], smallest: int) -> NDArray[np.bool_]:
    """Remove connected components of fewer than `smallest` pixels."""
    labels, _ = ndimage.label(mask)
    keep = np.bincount(labels.ravel()) >= smallest
    keep[0] = False
    kept: NDArray[np.bool_] = keep[labels]
    return kept


def _overlap(start: float, length: float, size: int) -> tuple[slice, NDArray[np.float64]]:
    """Return which of `size` unit cells an interval covers, and the share of the interval in each."""
    cells = np.arange(max(0, int(np.floor(start))), max(0, min(size, int(np.ceil(start + length)))))
    covered = np.minimum(cells + 1, start + length) - np.maximum(cells, start)
    first = int(cells[0]) if cells.size else 0
    return slice(first, first + cells.size), covered / length
