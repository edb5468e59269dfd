"""Stain normalization of a raw store, without its slides: the same patches in other colors, with a status each.

Every slide is fitted on its pooled tissue pixels, exactly as in `patches`. Normalizing a raw store therefore gives the
same patches as `patches` with the same method. All slides are fitted before the first patch is written, since the
target may be the median of the fits. A part is complete or absent, and stores a fingerprint of everything that it was
made from. Rerunning the command makes only missing parts.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from histosynth import __version__
from histosynth.cohort.split import HELD_OUT
from histosynth.errors import HistosynthError
from histosynth.normalization.manifest import describe_normalization
from histosynth.normalization.pixel_pool import PixelPool
from histosynth.normalization.stain_preview import PREVIEW, write_stain_preview
from histosynth.normalization.stain_spread import slide_key, stain_spread
from histosynth.normalization.staining import (
    MEDIAN_TARGET,
    Estimate,
    NormalizedPatches,
    StainNormalization,
    apply_fit,
    build_normalization,
    estimate_fit,
    normalize_each,
)
from histosynth.rundir import MANIFEST, locks_output
from histosynth.stain import Fit
from histosynth.store.manifest import read_store_manifest
from histosynth.store.part import Patch, image_of, part_fingerprint, part_record, read_part, stream_rows, write_part
from histosynth.store.store import list_parts, write_manifest


@dataclass(frozen=True, kw_only=True)
class NormalizeResult:
    """The outcome of `normalize`."""

    store: Path
    patches: Mapping[str, int]
    """Number by status."""
    slides: Mapping[str, int]
    """Number by status, of slides with one fit."""
    parts_resumed: int
    between_slides: Mapping[str, Any] | None
    """Mean distance between the stains of two slides, raw and normalized; None for fewer than two slides."""
    preview: Path | None


@locks_output
def normalize(
    store: Path,
    *,
    out: Path,
    method: str = "macenko",
    target: str = "",
    per: Literal["slide", "patch"] = "slide",
    fallback: str = "",
    device: str | None = None,
    preview: bool = False,
    progress: bool = True,
) -> NormalizeResult:
    """Normalize the stains of a store, or resume an interrupted call.

    Args:
        store: a store with raw colors; the synthetic patches of one run count as one slide.
        out: directory of the new store; created if absent.
        method: a registered normalizer.
        target: an image or patch store whose colors are the target; `median`: the median of the fits of the training
            slides; empty: the built-in target.
        per: one fit per slide or per patch.
        fallback: a registered normalizer for slides (or patches) that `method` cannot fit; empty: they keep
            their colors.
        device: device for torch; None: NumPy, which is faster on a CPU. The two agree to within one gray level.
        preview: also draw raw beside normalized patches, by slide.
        progress: show progress bars on stderr.

    Raises:
        HistosynthError: invalid input, such as a store that is normalized already.
        OSError: the store cannot be written; finished parts remain, and the same call resumes.
    """
    # Input
    source = read_store_manifest(store)
    _check_stores(store, out, source)
    if target == MEDIAN_TARGET and per == "patch":
        raise HistosynthError(
            "the median target requires fits per slide; omit --stain-per patch, or pass an image as target"
        )
    normalization = build_normalization(
        method, target="" if target == MEDIAN_TARGET else target, per=per, device=device, fallback=fallback
    )
    if target == MEDIAN_TARGET and fallback:
        raise HistosynthError(
            "the median target is one of the method itself, so a fallback has no target; pass an image or a store as "
            "target, or omit --fallback"
        )
    if target == MEDIAN_TARGET and normalization.normalizer.target is None:
        raise HistosynthError(f"stain method '{method}' has no target, so median does not apply; omit one of the two")
    parts = list_parts(store)
    names, training = Counter[str](), set[str]()
    for row in stream_rows(parts, columns=["slide_id", "source", "split"]):
        names[slide_key(row)] += 1
        if row["split"] != HELD_OUT:
            training.add(slide_key(row))
    if not names:
        raise HistosynthError(f"the store {store} holds no patch; its {MANIFEST} gives the reason for each slide")

    # Fits of the slides, and their median
    fits: dict[str, Estimate] = {}
    if per == "slide":
        fits = _fit_slides(parts, names, normalization, progress=progress)
        if target == MEDIAN_TARGET:
            chosen = _fits_for_median({name: fits[name] for name in fits if name in training}, store)
            normalization = replace(normalization, normalizer=normalization.normalizer.with_target(chosen))

    # Parts: delete what is out of date, make what is missing
    for stale in [out / MANIFEST, *out.glob(".*.tmp"), *({*list_parts(out)} - {out / part.name for part in parts})]:
        stale.unlink(missing_ok=True)
    shutil.rmtree(out / PREVIEW, ignore_errors=True)  # it may show an earlier state of the store
    resumed = 0
    for part in tqdm(parts, desc="normalizing", unit="part", disable=not progress):
        fingerprint = _fingerprint(part, fits, normalization)
        if part_fingerprint(out / part.name) == fingerprint:
            resumed += 1
        else:
            _write(part, out / part.name, fits, normalization, fingerprint=fingerprint)

    # Distance between slides, manifest and preview
    spread = stain_spread(parts, [out / part.name for part in parts], progress=progress)
    records = [part_record(out / part.name) for part in parts]
    manifest = describe_normalization(store, source, records, normalization, target=target, spread=spread)
    write_manifest(out, manifest)
    preview_path = write_stain_preview(out, raw=store) if preview else None
    return NormalizeResult(
        store=out,
        patches=manifest["staining"]["patches"],
        slides=dict(Counter(slide.status for slide in fits.values())),
        parts_resumed=resumed,
        between_slides=spread,
        preview=preview_path,
    )


def _check_stores(store: Path, out: Path, source: Mapping[str, Any]) -> None:
    """Raise if both stores are the same, `out` has another origin, or the store is normalized already."""
    if out.resolve() == store.resolve():
        raise HistosynthError(f"--out {out} is the store itself; choose another directory")
    for part in list_parts(out):
        if part_fingerprint(part) is not None and part_record(part).get("normalized_from") != store.resolve().name:
            raise HistosynthError(
                f"the store {out} holds patches that were not normalized from a store '{store.name}', such as "
                f"{part.name}; choose another --out"
            )
    done = source.get("staining", {}).get("method", "none")
    if done != "none":
        raise HistosynthError(
            f"the store {store} is normalized already ({done}); pass one with raw colors, made with "
            "--set patches.stain=none"
        )


def _fit_slides(
    parts: Sequence[Path], names: Mapping[str, int], normalization: StainNormalization, *, progress: bool
) -> dict[str, Estimate]:
    """Return the fit of each slide; its pixels are released after its last patch."""
    fits: dict[str, Estimate] = {}
    pools: dict[str, PixelPool] = {}
    remaining = Counter(names)
    rows = stream_rows(parts, columns=["patch_id", "slide_id", "source", "image"])
    for row in tqdm(rows, total=remaining.total(), desc="fitting", unit="patch", disable=not progress):
        name, image = slide_key(row), image_of(row)
        pools.setdefault(name, PixelPool(names[name] * image.size // 3)).add(image)
        remaining[name] -= 1
        if not remaining[name]:
            fits[name] = estimate_fit(pools.pop(name).pixels, normalization)
    return fits


def _fits_for_median(fits: Mapping[str, Estimate], store: Path) -> list[Fit]:
    fitted = [slide.fit for slide in fits.values() if slide.fit is not None]
    if not fitted:
        reasons = ", ".join(f"{count} {status}" for status, count in Counter(s.status for s in fits.values()).items())
        raise HistosynthError(
            f"no training slide of {store} can be fitted ({reasons or 'there is none'}), so there is no median; pass "
            "an image as target"
        )
    return fitted


def _fingerprint(part: Path, fits: Mapping[str, Estimate], normalization: StainNormalization) -> str:
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    slides = {slide_key(row) for row in stream_rows([part], columns=["slide_id", "source"])} if fits else set()
    made_from = {
        "version": __version__,
        "part": digest,
        "staining": normalization.to_dict(),
        "fits": {name: fit.to_dict() if (fit := fits[name].fit) else None for name in sorted(slides)},
    }
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def _write(
    part: Path, out: Path, fits: Mapping[str, Estimate], normalization: StainNormalization, *, fingerprint: str
) -> None:
    patches = read_part(part)
    rows: dict[str, list[int]] = {}
    for row, patch in enumerate(patches):
        rows.setdefault(patch.slide_id or patch.source, []).append(row)
    stains = {}
    for name, slide_rows in rows.items():
        normalized = _normalize([patches[row] for row in slide_rows], fits.get(name), normalization)
        stains[name] = normalized.record
        for row, image, status in zip(slide_rows, normalized.images, normalized.statuses, strict=True):
            patches[row] = replace(patches[row], image=image, stain=status)
    record = {
        **part_record(part),
        "normalized_from": part.parent.resolve().name,
        "statuses": dict(Counter(patch.stain for patch in patches)),
        "stains": stains,
    }
    write_part(out, patches, fingerprint=fingerprint, record=record)


def _normalize(
    patches: Sequence[Patch], slide: Estimate | None, normalization: StainNormalization
) -> NormalizedPatches:
    images = {patch.patch_id: patch.image for patch in patches}
    if slide is None:
        return normalize_each(images, normalization)
    return apply_fit(images, slide, normalization)
