"""Stain normalization of patches: one fit per slide on its pooled tissue pixels, or one per patch, and a status each.

With one fit per slide, all patches of the slide go through the same map, whatever they show: background stays
background, ink does not become tissue, and neighboring patches stay consistent. A slide or patch that cannot be fitted
is fitted by the fallback method, if one is asked for; otherwise it keeps its raw colors, and its status gives the
reason.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from histosynth.cohort.split import HELD_OUT
from histosynth.errors import HistosynthError
from histosynth.normalization.pixel_pool import PixelPool, pool_pixels
from histosynth.rundir import MANIFEST
from histosynth.slides.image import ImageReader
from histosynth.slides.types import Box
from histosynth.stain import REASONS, Fit, StainError, StainNormalizer, fit, normalizers, tissue_pixels
from histosynth.store.store import Store
from histosynth.store.threads import map_in_threads

RAW, NORMALIZED = "raw", "normalized"
MEDIAN_TARGET = "median"
"""The stain target that is the median of the fits of the training slides of a store."""


def skipped_status(reason: str) -> str:
    """Return the status of a patch that keeps its raw colors for this reason."""
    return f"skipped:{reason}"


def fallback_status(method: str) -> str:
    """Return the status of a patch that the fallback method normalized."""
    return f"{NORMALIZED}:{method}"


@dataclass(frozen=True, kw_only=True)
class StainNormalization:
    """A method of stain normalization with its target, applied per slide or per patch."""

    method: str
    normalizer: StainNormalizer
    per: Literal["slide", "patch"]
    device: str | None = None
    """Device of the torch backend; None: NumPy."""
    fallback: "StainNormalization | None" = None
    """What normalizes slides or patches that this method cannot fit, in NumPy; None: they keep their colors."""

    def to_dict(self) -> dict[str, Any]:
        """Return the facts for a manifest, including the fit of the target."""
        target = self.normalizer.target
        backend = "numpy" if self.device is None else "torch"
        return {
            "method": self.method,
            "per": self.per,
            "target": target.to_dict() if target else None,
            "backend": backend,
            **({"fallback": self.fallback.to_dict()} if self.fallback else {}),
        }


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The fit of a slide or patch; None where there is nothing to apply."""

    fit: Fit | None
    status: str
    """Status of the patches that it is applied to."""
    instead_of: str | None = None
    """The status without the fallback, where this is a fit of the fallback."""

    def normalize(self, image: NDArray[np.uint8], normalization: StainNormalization) -> NDArray[np.uint8]:
        """Return the image, (..., 3), in the colors of the target, with the method that made this fit."""
        method = normalization.fallback if self.instead_of else normalization
        assert method is not None
        return method.normalizer.apply(image, self.fit)


@dataclass(frozen=True, kw_only=True)
class NormalizedPatches:
    """Normalized patches, their statuses, and the record of the slide for the manifest."""

    images: list[NDArray[np.uint8]]
    statuses: list[str]
    record: dict[str, Any]


def build_normalization(
    method: str,
    *,
    target: str = "",
    per: Literal["slide", "patch"] = "slide",
    device: str | None = None,
    fallback: str = "",
) -> StainNormalization:
    """Look up the method and fit its target.

    Args:
        method: a registered normalizer.
        target: an image or a patch store whose colors are the target; empty: the built-in target.
        per: one fit per slide or per patch.
        device: device of the torch backend; None: NumPy.
        fallback: a registered normalizer for slides (or patches) that `method` cannot fit; empty: none.

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
    if fallback and normalizer.target is None:
        raise HistosynthError(
            f"stain method '{method}' fits nothing, so the fallback '{fallback}' never applies; omit it"
        )
    second = build_normalization(fallback, target=target, per=per) if fallback else None
    return StainNormalization(method=method, normalizer=normalizer, per=per, device=device, fallback=second)


def _pixels_of(target: Path) -> NDArray[np.uint8]:
    if (target / MANIFEST).is_file():
        store = Store(target)
        held_out = store.select(split=HELD_OUT)
        rows = np.setdiff1d(np.arange(len(store)), held_out) if len(held_out) < len(store) else held_out
        pool = PixelPool(len(rows) * store.patch_px**2)
        for row in rows:
            pool.add(store.images([row])[0])
        return pool.pixels
    if not target.is_file():
        raise HistosynthError(f"stain target '{target}' is neither an image nor a patch store; check the path")
    with ImageReader(target) as image:
        return pool_pixels([image.read(Box(x=0, y=0, width=image.width_px, height=image.height_px))])


def estimate_fit(pixels: NDArray[np.uint8], normalization: StainNormalization) -> Estimate:
    """Return the fit of pixels (N, 3), background included; of the fallback where the method itself has none."""
    try:
        fitted = normalization.normalizer.estimate(tissue_pixels(pixels))
    except StainError as error:
        return _fall_back(pixels, skipped_status(str(error)), normalization)
    return Estimate(fit=fitted, status=RAW if fitted is None else NORMALIZED)


def _fall_back(pixels: NDArray[np.uint8], skipped: str, normalization: StainNormalization) -> Estimate:
    if normalization.fallback is not None:
        second = estimate_fit(pixels, normalization.fallback)
        if second.fit is not None:
            return replace(second, status=fallback_status(normalization.fallback.method), instead_of=skipped)
    return Estimate(fit=None, status=skipped)


def normalize_slide(images: Mapping[str, NDArray[np.uint8]], normalization: StainNormalization) -> NormalizedPatches:
    """Normalize the patches of one slide; `images` by patch id."""
    if normalization.per == "patch":
        return normalize_each(images, normalization)
    return apply_fit(images, estimate_fit(pool_pixels(list(images.values())), normalization), normalization)


def apply_fit(
    images: Mapping[str, NDArray[np.uint8]], slide: Estimate, normalization: StainNormalization
) -> NormalizedPatches:
    """Apply the fit of a slide to its patches."""
    record = {"method": normalization.method, "status": slide.status}
    if slide.instead_of:
        record["instead_of"] = slide.instead_of
    return NormalizedPatches(
        images=_apply([*images.values()], [slide] * len(images), normalization),
        statuses=[slide.status] * len(images),
        record={**record, **(slide.fit.to_dict() if slide.fit else {})},
    )


def normalize_each(images: Mapping[str, NDArray[np.uint8]], normalization: StainNormalization) -> NormalizedPatches:
    """Normalize each patch with its own fit."""
    estimates = _estimate_each([*images.values()], normalization)
    fits = {name: patch.fit.to_dict() for name, patch in zip(images, estimates, strict=True) if patch.fit}
    return NormalizedPatches(
        images=_apply([*images.values()], estimates, normalization),
        statuses=[patch.status for patch in estimates],
        record={
            "method": normalization.method,
            "status": dict(Counter(patch.status for patch in estimates)),
            "fits": fits,
        },
    )


def _estimate_each(images: Sequence[NDArray[np.uint8]], normalization: StainNormalization) -> list[Estimate]:
    if normalization.device is None or not images:
        return list(map_in_threads(lambda image: estimate_fit(image.reshape(-1, 3), normalization), images))
    from histosynth.stain.batched import estimate_batch

    fits = estimate_batch(np.stack(images), normalizer=normalization.normalizer, device=normalization.device)
    return [
        _fall_back(image.reshape(-1, 3), skipped_status(fit), normalization)
        if isinstance(fit, str)
        else Estimate(fit=fit, status=NORMALIZED)
        for image, fit in zip(images, fits, strict=True)
    ]


def _apply(
    images: Sequence[NDArray[np.uint8]], estimates: Sequence[Estimate], normalization: StainNormalization
) -> list[NDArray[np.uint8]]:
    pairs = list(zip(images, estimates, strict=True))
    if normalization.device is None or not images:
        return list(map_in_threads(lambda pair: pair[1].normalize(pair[0], normalization), pairs))
    from histosynth.stain.batched import normalize_batch

    fits: list[Any] = [None if patch.instead_of else patch.fit for patch in estimates]
    batch = normalize_batch(
        np.stack(images), normalizer=normalization.normalizer, fits=fits, device=normalization.device
    )
    return [
        patch.normalize(image, normalization) if patch.instead_of else mapped
        for (image, patch), mapped in zip(pairs, batch, strict=True)
    ]
