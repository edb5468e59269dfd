"""Stain normalization of patches: one fit per slide on its pooled tissue pixels, or one per patch, and a status each.

With one fit per slide, all patches of the slide go through the same map, whatever they show: background stays
background, ink does not become tissue, and neighboring patches stay consistent. A slide or patch that cannot be fitted
keeps its raw colors, and its status gives the reason.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from histosynth.errors import HistosynthError
from histosynth.rundir import MANIFEST
from histosynth.slides.image import ImageReader
from histosynth.slides.types import Box
from histosynth.stain import REASONS, Fit, StainError, StainNormalizer, fit, normalizers, tissue_pixels
from histosynth.store.store import Store
from histosynth.store.threads import map_in_threads

RAW, NORMALIZED = "raw", "normalized"
MEDIAN_TARGET = "median"
"""The stain target that is the median of the fits of all slides of a store."""
_POOL_PIXELS = 1_000_000


def skipped_status(reason: str) -> str:
    """Return the status of a patch that keeps its raw colors for this reason."""
    return f"skipped:{reason}"


@dataclass(frozen=True, kw_only=True)
class StainNormalization:
    """A method of stain normalization with its target, applied per slide or per patch."""

    method: str
    normalizer: StainNormalizer
    per: Literal["slide", "patch"]
    device: str | None = None
    """Device of the torch backend; None: NumPy."""

    def to_dict(self) -> dict[str, Any]:
        """Return the facts for a manifest, including the fit of the target."""
        target = self.normalizer.target
        backend = "numpy" if self.device is None else "torch"
        return {
            "method": self.method,
            "per": self.per,
            "target": target.to_dict() if target else None,
            "backend": backend,
        }


@dataclass(frozen=True, kw_only=True)
class NormalizedPatches:
    """Normalized patches, their statuses, and the record of the slide for the manifest."""

    images: list[NDArray[np.uint8]]
    statuses: list[str]
    record: dict[str, Any]


class PixelPool:
    """Every n-th pixel of a sequence of images, so that no more than a maximum number is kept."""

    def __init__(self, pixels: int, *, at_most: int = _POOL_PIXELS) -> None:
        """Set the step from `pixels`, their total number, and `at_most`, the number to keep."""
        self._step = max(1, -(-pixels // at_most))
        self._start = 0
        self._kept: list[NDArray[np.uint8]] = []

    def add(self, image: NDArray[np.uint8]) -> None:
        """Add the next image, (..., 3)."""
        flat = image.reshape(-1, 3)
        self._kept.append(flat[-self._start % self._step :: self._step].copy())
        self._start += len(flat)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The kept pixels, (N, 3)."""
        return np.concatenate(self._kept) if self._kept else np.empty((0, 3), np.uint8)


def pool_pixels(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return at most a million pixels of these images, (N, 3)."""
    pool = PixelPool(sum(image.size // 3 for image in images))
    for image in images:
        pool.add(image)
    return pool.pixels


def build_normalization(
    method: str, *, target: str = "", per: Literal["slide", "patch"] = "slide", device: str | None = None
) -> StainNormalization:
    """Look up the method and fit its target.

    Args:
        method: a registered normalizer.
        target: an image or a patch store whose colors are the target; empty: the built-in target.
        per: one fit per slide or per patch.
        device: device of the torch backend; None: NumPy.

    Raises:
        HistosynthError: an unknown method; a target that is not an image or store, cannot be fitted, or does not apply
            to the method; an unusable device.
    """
    # Method and target
    normalizer = normalizers[method]
    if target:
        if normalizer.target is None:
            raise HistosynthError(
                f"stain method '{method}' has no target, so '{target}' does not apply; omit one of the two"
            )
        try:
            normalizer = fit(normalizer, _pixels_of(Path(target)))
        except StainError as error:
            raise HistosynthError(
                f"the stain target '{target}' cannot be fitted by {method}: {REASONS[str(error)]}; choose an image or "
                "store of well-stained tissue"
            ) from error

    # Device, checked before any patch is read
    if device is not None:
        from histosynth.stain.batched import require_device

        require_device(device, normalizer=normalizer)
    return StainNormalization(method=method, normalizer=normalizer, per=per, device=device)


def _pixels_of(target: Path) -> NDArray[np.uint8]:
    if (target / MANIFEST).is_file():
        store = Store(target)
        pool = PixelPool(len(store) * store.patch_px**2)
        for row in range(len(store)):
            pool.add(store.images([row])[0])
        return pool.pixels
    if not target.is_file():
        raise HistosynthError(f"stain target '{target}' is neither an image nor a patch store; check the path")
    with ImageReader(target) as image:
        return pool_pixels([image.read(Box(x=0, y=0, width=image.width_px, height=image.height_px))])


def estimate_fit(pixels: NDArray[np.uint8], normalization: StainNormalization) -> tuple[Fit | None, str]:
    """Return the fit of pixels (N, 3), background included, and the status of the patches it is applied to."""
    try:
        fitted = normalization.normalizer.estimate(tissue_pixels(pixels))
    except StainError as error:
        return None, skipped_status(str(error))
    return fitted, NORMALIZED if fitted is not None else RAW


def normalize_slide(images: Mapping[str, NDArray[np.uint8]], normalization: StainNormalization) -> NormalizedPatches:
    """Normalize the patches of one slide; `images` by patch id."""
    if normalization.per == "patch":
        return normalize_each(images, normalization)
    slide_fit, status = estimate_fit(pool_pixels(list(images.values())), normalization)
    return apply_fit(images, slide_fit, status, normalization)


def apply_fit(
    images: Mapping[str, NDArray[np.uint8]], slide_fit: Fit | None, status: str, normalization: StainNormalization
) -> NormalizedPatches:
    """Apply the fit of a slide to its patches."""
    return NormalizedPatches(
        images=_apply([*images.values()], [slide_fit] * len(images), normalization),
        statuses=[status] * len(images),
        record={"method": normalization.method, "status": status, **(slide_fit.to_dict() if slide_fit else {})},
    )


def normalize_each(images: Mapping[str, NDArray[np.uint8]], normalization: StainNormalization) -> NormalizedPatches:
    """Normalize each patch with its own fit."""
    results = _estimate_each([*images.values()], normalization)
    fits = [patch_fit for patch_fit, _ in results]
    return NormalizedPatches(
        images=_apply([*images.values()], fits, normalization),
        statuses=[status for _, status in results],
        record={
            "method": normalization.method,
            "status": dict(Counter(status for _, status in results)),
            "fits": {name: patch_fit.to_dict() for name, patch_fit in zip(images, fits, strict=True) if patch_fit},
        },
    )


def _estimate_each(
    images: Sequence[NDArray[np.uint8]], normalization: StainNormalization
) -> list[tuple[Fit | None, str]]:
    if normalization.device is None or not images:
        return list(map_in_threads(lambda image: estimate_fit(image.reshape(-1, 3), normalization), images))
    from histosynth.stain.batched import estimate_batch

    fits = estimate_batch(np.stack(images), normalizer=normalization.normalizer, device=normalization.device)
    return [(None, skipped_status(fit)) if isinstance(fit, str) else (fit, NORMALIZED) for fit in fits]


def _apply(
    images: Sequence[NDArray[np.uint8]], fits: Sequence[Any], normalization: StainNormalization
) -> list[NDArray[np.uint8]]:
    if normalization.device is None or not images:
        pairs = zip(images, fits, strict=True)
        return list(map_in_threads(lambda pair: normalization.normalizer.apply(*pair), pairs))
    from histosynth.stain.batched import normalize_batch

    return list(
        normalize_batch(np.stack(images), normalizer=normalization.normalizer, fits=fits, device=normalization.device)
    )
