"""The colors of patches, normalized: one fit a slide on its pooled tissue pixels, or one a patch, and a status each.

With one fit a slide, all its patches go through the same map, whatever they show: blank stays glass, ink stays no
tissue, and neighbors stay alike. A slide or patch that allows no fit keeps its raw colors, and says why.
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
"""The stain target that is the middle of all slides of a store."""
_POOL = 1_000_000  # pixels


def skipped_status(reason: str) -> str:
    """The status of a patch that keeps its raw colors for that reason."""
    return f"skipped:{reason}"


@dataclass(frozen=True, kw_only=True)
class StainNormalization:
    """What is done to colors: a method with its target, once a slide or once a patch."""

    method: str
    normalizer: StainNormalizer
    per: Literal["slide", "patch"]
    device: str | None = None
    """Where the torch backend computes; None: NumPy."""

    def to_dict(self) -> dict[str, Any]:
        """What a manifest says of it, the target's fit included."""
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
    """Patches after it, their statuses, and what the manifest says of the slide."""

    images: list[NDArray[np.uint8]]
    statuses: list[str]
    record: dict[str, Any]


class PixelPool:
    """Every n-th pixel of images in a row, as if they lay side by side, so that no more than a million are kept."""

    def __init__(self, pixels: int, *, at_most: int = _POOL) -> None:
        """`pixels`: how many there are in all."""
        self._step = max(1, -(-pixels // at_most))
        self._start = 0
        self._taken: list[NDArray[np.uint8]] = []

    def add(self, image: NDArray[np.uint8]) -> None:
        """The next image, (..., 3)."""
        flat = image.reshape(-1, 3)
        self._taken.append(flat[-self._start % self._step :: self._step].copy())
        self._start += len(flat)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """(N, 3)."""
        return np.concatenate(self._taken) if self._taken else np.empty((0, 3), np.uint8)


def pool_pixels(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """At most a million pixels of these images, (N, 3)."""
    pool = PixelPool(sum(image.size // 3 for image in images))
    for image in images:
        pool.add(image)
    return pool.pixels


def build_normalization(
    method: str, *, target: str = "", per: Literal["slide", "patch"] = "slide", device: str | None = None
) -> StainNormalization:
    """Look the method up and fit its target.

    Args:
        method: a registered normalizer.
        target: an image or a patch store whose colors are the target; empty: the built-in one.
        per: one fit a slide, or one a patch.
        device: where the torch backend computes; None: NumPy.

    Raises:
        HistosynthError: an unknown method, a target that is neither or shows no two stains, or a method without one;
            a device that cannot be used.
    """
    normalizer = normalizers[method]
    if target:
        if normalizer.target is None:
            raise HistosynthError(
                f"stain method '{method}' has no target, so '{target}' cannot be one; leave out one of the two"
            )
        try:
            normalizer = fit(normalizer, _pixels_of(Path(target)))
        except StainError as error:
            raise HistosynthError(
                f"the stain target '{target}' cannot be fitted by {method}: {REASONS[str(error)]}; choose an image or "
                "store of well-stained tissue"
            ) from error
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
        raise HistosynthError(f"no image and no patch store '{target}'; check the stain target")
    with ImageReader(target) as image:
        return pool_pixels([image.read(Box(x=0, y=0, width=image.width_px, height=image.height_px))])


def estimate_fit(pixels: NDArray[np.uint8], staining: StainNormalization) -> tuple[Fit | None, str]:
    """A fit from pixels (N, 3), glass among them, and the status of what it is applied to."""
    try:
        found = staining.normalizer.estimate(tissue_pixels(pixels))
    except StainError as error:
        return None, skipped_status(str(error))
    return found, NORMALIZED if found is not None else RAW


def normalize_slide(images: Mapping[str, NDArray[np.uint8]], staining: StainNormalization) -> NormalizedPatches:
    """Normalize the patches of one slide, by their ids."""
    if staining.per == "patch":
        return normalize_each(images, staining)
    found, status = estimate_fit(pool_pixels(list(images.values())), staining)
    return apply_fit(images, found, status, staining)


def apply_fit(
    images: Mapping[str, NDArray[np.uint8]], found: Fit | None, status: str, staining: StainNormalization
) -> NormalizedPatches:
    """Apply the fit of their slide to patches."""
    return NormalizedPatches(
        images=_apply([*images.values()], [found] * len(images), staining),
        statuses=[status] * len(images),
        record={"method": staining.method, "status": status, **(found.to_dict() if found else {})},
    )


def normalize_each(images: Mapping[str, NDArray[np.uint8]], staining: StainNormalization) -> NormalizedPatches:
    """Normalize each patch by a fit of its own."""
    results = _estimate_each([*images.values()], staining)
    fits = [found for found, _ in results]
    return NormalizedPatches(
        images=_apply([*images.values()], fits, staining),
        statuses=[status for _, status in results],
        record={
            "method": staining.method,
            "status": dict(Counter(status for _, status in results)),
            "fits": {name: found.to_dict() for name, found in zip(images, fits, strict=True) if found},
        },
    )


def _estimate_each(images: Sequence[NDArray[np.uint8]], staining: StainNormalization) -> list[tuple[Fit | None, str]]:
    if staining.device is None or not images:
        return list(map_in_threads(lambda image: estimate_fit(image.reshape(-1, 3), staining), images))
    from histosynth.stain.batched import estimate_batch

    found = estimate_batch(np.stack(images), normalizer=staining.normalizer, device=staining.device)
    return [(None, skipped_status(fit)) if isinstance(fit, str) else (fit, NORMALIZED) for fit in found]


def _apply(
    images: Sequence[NDArray[np.uint8]], fits: Sequence[Any], staining: StainNormalization
) -> list[NDArray[np.uint8]]:
    if staining.device is None or not images:
        pairs = zip(images, fits, strict=True)
        return list(map_in_threads(lambda pair: staining.normalizer.apply(*pair), pairs))
    from histosynth.stain.batched import normalize_batch

    return list(normalize_batch(np.stack(images), normalizer=staining.normalizer, fits=fits, device=staining.device))
