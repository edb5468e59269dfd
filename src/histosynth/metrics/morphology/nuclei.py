"""Detection of the nuclei of a patch by color deconvolution and watershed, without a trained model.

1. Hematoxylin c_H from density = c_H h + c_E e by least squares (Ruifrok & Johnston 2001), in units of the stain fit's
   99th percentile, resampled to a lattice of 0.5 um whatever the pixel size of the patch, so that every length below is
   the same at every scale.
2. Threshold: Otsu's (1979) separates dark from pale tissue. Within 24 um of a pixel the two have means m_d and m_p; a
   pixel is nuclear if it exceeds both 0.85 (m_d + m_p) / 2 and a minimum for regions without any nucleus.
3. Touching nuclei: pale clefts (closing minus image, Soille 2003), unless enclosed, count as background; then watershed
   from the h-maxima of the distance to the background.
4. Excluded: objects smaller than 8 um² or larger than 1000 um², hardly darker than the ring around them, or too red
   (blood cells).

The constants were tuned on five glioma tiles with outlined nuclei; `benchmarks/metrics/morphology.py` measures on five
others.
"""

from dataclasses import dataclass
from math import hypot

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

from histosynth.stain.optical_density import to_density
from histosynth.stain.two_stains import TARGET, StainFit

PITCH_UM = 0.5
"""Lattice spacing: a nucleus of 8 um² covers 32 pixels."""
MIN_AREA_UM2 = 8.0
"""A disk of 3.2 um: small nuclei of glia and lymphocytes measure at least 5 um, pyknotic ones 3 um."""
MAX_AREA_UM2 = 1000.0
"""A disk of 36 um, larger than the nuclei of giant cells: larger objects are strokes of ink or folds."""
_SMOOTHING_UM = 0.6
_AROUND_UM = 24.0  # two or three cells
_SHARE = 0.85
_FLOOR = 0.2  # of the fit's 99th percentile
_HOLE_UM2 = 30.0  # pale center of a vesicular nucleus; the lumen of a vessel is larger
_CLEFT_UM = 3.0  # maximum width
_CLEFT = 0.08  # contrast of a line between two nuclei
_DEPTH_SMOOTHING_UM = 0.75
_DROP_UM = 0.5  # depth of two cores beyond the neck between them
_RING_UM = 2.0
_CONTRAST = 0.1
_GLASS_DENSITY = 0.1  # glass must not count as pale tissue
_MAX_EOSIN = 2.0  # relative to hematoxylin, both in units of the fit; red blood cells exceed it

Map = NDArray[np.float32]
Labels = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Nuclei:
    """Nuclei of one patch, on the lattice of the detection."""

    labels: Labels
    """(h, w): 0 is background, 1 to n are nuclei."""
    hematoxylin: Map
    """(h, w): concentration, 1 at the stain fit's 99th percentile."""
    optical_density: Map
    """(h, w): mean of the channels."""
    pitch_um: float
    """Microns per lattice pixel."""

    def __len__(self) -> int:
        return int(self.labels.max(initial=0))


def find_nuclei(image: NDArray[np.uint8], *, mpp: float, fit: StainFit = TARGET) -> Nuclei:
    """Find the nuclei of an (H, W, 3) patch; there are none if nothing stands out.

    Args:
        image: a patch with the stains of `fit`.
        mpp: microns per pixel, 0.25 to 2; coarser patches have too few pixels per nucleus.
        fit: stains of the set of the patch; the default is the target of normalization.

    Raises:
        ValueError: `mpp` is not a positive number.
    """
    if not (np.isfinite(mpp) and mpp > 0):
        raise ValueError(f"microns per pixel must be positive, found {mpp}")
    # Unmix the stains, and resample them to the lattice.
    height, width = image.shape[:2]
    shape = max(1, round(height * mpp / PITCH_UM)), max(1, round(width * mpp / PITCH_UM))
    pitch = mpp * hypot(height, width) / hypot(*shape)
    density = to_density(image)
    unmix = (np.linalg.pinv(np.array(fit.stains)) / fit.max_concentrations).astype(np.float32)
    hematoxylin, eosin = (_resize(concentration, shape) for concentration in np.moveaxis(density @ unmix, 2, 0))
    total = _resize(density.mean(axis=2), shape)
    # Threshold, separate touching nuclei, and remove artifacts.
    smooth = ndimage.gaussian_filter(hematoxylin, _SMOOTHING_UM / pitch)
    labels = _split(_nuclear(smooth, total > _GLASS_DENSITY, pitch), smooth, pitch)
    labels = _without_artifacts(labels, smooth, eosin, pitch)
    return Nuclei(labels=labels, hematoxylin=hematoxylin, optical_density=total, pitch_um=pitch)


def nearest_nucleus_map(labels: Labels, *, pitch_um: float) -> tuple[Map, Labels]:
    """Return the distance in microns to the nearest nucleus, 0 inside, and its label: (h, w) each. Needs a nucleus."""
    distance, (rows, columns) = ndimage.distance_transform_edt(labels == 0, sampling=pitch_um, return_indices=True)
    return distance.astype(np.float32), labels[rows, columns]


def label_means(values: Map, labels: Labels, *, n: int) -> NDArray[np.float64]:
    """Return the mean of `values` over the pixels of each label 1 to `n`; NaN for labels without pixels."""
    flat = labels.ravel()
    counts = np.bincount(flat, minlength=n + 1)[1:]
    sums = np.bincount(flat, weights=values.ravel(), minlength=n + 1)[1:]
    mean: NDArray[np.float64] = np.divide(sums, counts, out=np.full(n, np.nan), where=counts > 0)
    return mean


def _nuclear(smooth: Map, tissue: NDArray[np.bool_], pitch: float) -> NDArray[np.bool_]:
    """Return where the hematoxylin is that of a nucleus, (h, w)."""
    clipped = np.clip(smooth[tissue], 0.0, 1.2)  # black pigment must not shift the threshold
    if not clipped.size or np.ptp(clipped) < _CONTRAST:
        return np.zeros(smooth.shape, dtype=bool)
    dark = tissue & (smooth > threshold_otsu(clipped))
    middle = (_mean_around(smooth, dark, pitch) + _mean_around(smooth, tissue & ~dark, pitch)) / 2
    mask = smooth > np.maximum(_SHARE * middle, _FLOOR)
    return np.asarray(ndimage.binary_opening(_filled(mask, pitch)))


def _mean_around(values: Map, mask: NDArray[np.bool_], pitch: float) -> Map:
    """Return the mean of the values within the mask around each pixel, or their overall mean far from the mask."""
    side, prior = round(_AROUND_UM / pitch), np.float32(0.05)
    near = ndimage.uniform_filter(np.where(mask, values, np.float32(0)), side)
    share = ndimage.uniform_filter(mask.astype(np.float32), side)
    around: Map = (near + prior * values[mask].mean()) / (share + prior)
    return around


def _split(mask: NDArray[np.bool_], smooth: Map, pitch: float) -> Labels:
    """Label the parts of the mask, with touching nuclei separated, (h, w)."""
    clefts = ndimage.grey_closing(smooth, 2 * round(_CLEFT_UM / pitch / 2) + 1) - smooth > _CLEFT
    apart = _filled(mask & ~clefts, pitch) & mask
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(apart) * pitch, _DEPTH_SMOOTHING_UM / pitch)
    coarse = depth[::2, ::2].astype(np.float32)  # it is smooth at this scale, and a quarter of the work suffices
    markers = np.zeros(mask.shape, np.int32)
    markers[::2, ::2], cores = ndimage.label(h_maxima(coarse, _DROP_UM) & mask[::2, ::2], np.ones((3, 3)))
    parts, n = ndimage.label(mask)
    cored = np.bincount(parts[markers > 0], minlength=n + 1) > 0
    cored[0] = True
    markers = np.where(cored[parts], markers, parts + cores)  # a flat part has no maximum: it is one nucleus
    return np.asarray(watershed(-depth, markers, mask=mask), dtype=np.int32)


def _filled(mask: NDArray[np.bool_], pitch: float) -> NDArray[np.bool_]:
    """Fill small holes of the mask: the pale center of a nucleus belongs to it."""
    holes, _ = ndimage.label(~mask)
    small = np.bincount(holes.ravel()) * pitch**2 < _HOLE_UM2
    small[0] = False
    filled: NDArray[np.bool_] = mask | small[holes]
    return filled


def _without_artifacts(labels: Labels, smooth: Map, eosin: Map, pitch: float) -> Labels:
    """Keep the nuclei of plausible size and stain; renumber them from 1."""
    n = int(labels.max(initial=0))
    if not n:
        return labels
    distance, nearest = nearest_nucleus_map(labels, pitch_um=pitch)
    ring = np.where((distance > 0) & (distance <= _RING_UM), nearest, 0)
    inner, outer = label_means(smooth, labels, n=n), label_means(smooth, ring, n=n)
    area = np.bincount(labels.ravel())[1:] * pitch**2
    keep = np.zeros(n + 1, dtype=bool)
    keep[1:] = (area >= MIN_AREA_UM2) & (area <= MAX_AREA_UM2) & (label_means(eosin, labels, n=n) <= _MAX_EOSIN * inner)
    keep[1:] &= ~(inner - outer < _CONTRAST)  # a nucleus enclosed by others has no ring, and is kept
    numbers = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    return np.asarray(numbers[labels])


def _resize(field: Map, shape: tuple[int, int]) -> Map:
    """Resample a field (H, W): averaged to fewer pixels, cubic to more."""
    if field.shape == shape:
        return field
    resized = Image.fromarray(field).resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(resized, dtype=np.float32)
