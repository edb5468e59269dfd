"""A raw store normalized anew, without its slides: the same patches, other colors, and a status each.

Every slide is fitted on its pooled tissue pixels, exactly as `patches` does it, so that normalizing a raw store gives
the very patches that `patches` with the same method would have cut. The fits of all slides are known before the first
patch is written: the target may be their median. Parts are written whole, carry a fingerprint of all they were made
from, and the same command again makes only what is missing.
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
from histosynth.errors import HistosynthError
from histosynth.normalization.stain_preview import PREVIEW, write_stain_preview
from histosynth.normalization.stain_spread import slide_key, stain_spread
from histosynth.normalization.staining import (
    MEDIAN_TARGET,
    NormalizedPatches,
    PixelPool,
    StainNormalization,
    apply_fit,
    build_normalization,
    estimate_fit,
    normalize_each,
)
from histosynth.rundir import MANIFEST, locks_output, read_manifest, versions
from histosynth.stain import Fit
from histosynth.store.part import Patch, part_fingerprint, part_record, read_part, stream_rows, write_part
from histosynth.store.png import decode_png
from histosynth.store.store import KIND, list_parts, write_manifest


@dataclass(frozen=True, kw_only=True)
class NormalizeResult:
    """What `normalize` did."""

    store: Path
    patches: Mapping[str, int]
    """By status."""
    slides: Mapping[str, int]
    """By status, of slides that have but one."""
    parts_resumed: int
    between_slides: Mapping[str, Any] | None
    """Mean distance between the stains of any two slides, raw and normalized; None for fewer than two slides."""
    preview: Path | None


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What is known of a slide before its patches are written."""

    fit: Fit | None
    status: str


@locks_output
def normalize(
    store: Path,
    *,
    out: Path,
    method: str = "macenko",
    target: str = "",
    per: Literal["slide", "patch"] = "slide",
    device: str | None = None,
    preview: bool = False,
    progress: bool = True,
) -> NormalizeResult:
    """Normalize the stains of a store, or finish one that was begun.

    Args:
        store: a store of raw colors; of synthetic patches, those of one run count as one slide.
        out: directory of the new store; made if absent.
        method: a registered normalizer.
        target: an image or patch store whose colors are the target; `median`: the middle of the fits of all slides;
            empty: the built-in one.
        per: one fit a slide, or one a patch.
        device: compute there, in torch; None: in NumPy, which is faster on a processor. They agree to one level.
        preview: also draw raw patches above normalized ones, by slide.
        progress: show bars on stderr.

    Raises:
        HistosynthError: bad input (see the text), such as a store that is normalized already.
        OSError: the store cannot be written; what is finished stays, and the same call goes on.
    """
    source = read_manifest(store, kind=KIND)
    _refuse(store, out, source)
    if target == MEDIAN_TARGET and per == "patch":
        raise HistosynthError("the median target is that of slides; leave out --stain-per patch, or name an image")
    staining = build_normalization(method, target="" if target == MEDIAN_TARGET else target, per=per, device=device)
    if target == MEDIAN_TARGET and staining.normalizer.target is None:
        raise HistosynthError(f"stain method '{method}' has no target, so there is no median; leave out one of the two")
    parts = list_parts(store)
    names = Counter(map(slide_key, stream_rows(parts, columns=["slide_id", "source"])))
    if not names:
        raise HistosynthError(f"the store {store} holds no patch; its {MANIFEST} says why for each slide")
    fits: dict[str, _Found] = {}
    if per == "slide":
        fits = _fit_slides(parts, names, staining, progress=progress)
        if target == MEDIAN_TARGET:
            staining = replace(staining, normalizer=staining.normalizer.with_target(_require(fits, store)))

    for stale in [out / MANIFEST, *out.glob(".*.tmp"), *({*list_parts(out)} - {out / part.name for part in parts})]:
        stale.unlink(missing_ok=True)
    shutil.rmtree(out / PREVIEW, ignore_errors=True)  # it may show what the store will no longer be
    resumed = 0
    for part in tqdm(parts, desc="normalizing", unit="part", disable=not progress):
        fingerprint = _fingerprint(part, fits, staining)
        if part_fingerprint(out / part.name) == fingerprint:
            resumed += 1
        else:
            _write(part, out / part.name, fits, staining, fingerprint=fingerprint)
    spread = stain_spread(parts, [out / part.name for part in parts], progress=progress)
    records = [part_record(out / part.name) for part in parts]
    manifest = _describe(store, source, records, staining, target=target, spread=spread)
    write_manifest(out, manifest)
    page = write_stain_preview(out, raw=store) if preview else None
    return NormalizeResult(
        store=out,
        patches=manifest["staining"]["patches"],
        slides=dict(Counter(found.status for found in fits.values())),
        parts_resumed=resumed,
        between_slides=spread,
        preview=page,
    )


def _refuse(store: Path, out: Path, source: Mapping[str, Any]) -> None:
    """Raise where the stores are one, or this one is normalized already."""
    if out.resolve() == store.resolve():
        raise HistosynthError(f"--out {out} is the store itself; name another directory")
    for part in list_parts(out):
        if part_fingerprint(part) is not None and part_record(part).get("normalized_from") != store.resolve().name:
            raise HistosynthError(
                f"the store {out} holds patches that were not normalized from a store '{store.name}', such as "
                f"{part.name}; choose another --out"
            )
    done = source.get("staining", {}).get("method", "none")
    if done != "none":
        raise HistosynthError(
            f"the store {store} is normalized already ({done}); give one of raw colors, made with "
            "--set patches.stain=none"
        )


def _fit_slides(
    parts: Sequence[Path], names: Mapping[str, int], staining: StainNormalization, *, progress: bool
) -> dict[str, _Found]:
    """A fit of each slide; its pixels are let go of once its last patch is seen."""
    fits: dict[str, _Found] = {}
    pools: dict[str, PixelPool] = {}
    left = Counter(names)
    rows = stream_rows(parts, columns=["slide_id", "source", "image"])
    for row in tqdm(rows, total=left.total(), desc="fitting", unit="patch", disable=not progress):
        name, image = slide_key(row), decode_png(row["image"]["bytes"])
        pools.setdefault(name, PixelPool(names[name] * image.size // 3)).add(image)
        left[name] -= 1
        if not left[name]:
            fit, status = estimate_fit(pools.pop(name).pixels, staining)
            fits[name] = _Found(fit=fit, status=status)
    return fits


def _require(fits: Mapping[str, _Found], store: Path) -> list[Fit]:
    found = [slide.fit for slide in fits.values() if slide.fit is not None]
    if not found:
        reasons = ", ".join(f"{count} {status}" for status, count in Counter(s.status for s in fits.values()).items())
        raise HistosynthError(f"no slide of {store} can be fitted ({reasons}), so there is no median; name an image")
    return found


def _fingerprint(part: Path, fits: Mapping[str, _Found], staining: StainNormalization) -> str:
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    slides = {slide_key(row) for row in stream_rows([part], columns=["slide_id", "source"])} if fits else set()
    made_from = {
        "version": __version__,
        "part": digest,
        "staining": staining.to_dict(),
        "fits": {name: fit.to_dict() if (fit := fits[name].fit) else None for name in sorted(slides)},
    }
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def _write(
    part: Path, out: Path, fits: Mapping[str, _Found], staining: StainNormalization, *, fingerprint: str
) -> None:
    patches = read_part(part)
    rows: dict[str, list[int]] = {}
    for row, patch in enumerate(patches):
        rows.setdefault(patch.slide_id or patch.source, []).append(row)
    stains = {}
    for name, some in rows.items():
        stained = _stain([patches[row] for row in some], fits.get(name), staining)
        stains[name] = stained.record
        for row, image, status in zip(some, stained.images, stained.statuses, strict=True):
            patches[row] = replace(patches[row], image=image, stain=status)
    record = {
        **part_record(part),
        "normalized_from": part.parent.resolve().name,
        "statuses": dict(Counter(patch.stain for patch in patches)),
        "stains": stains,
    }
    write_part(out, patches, fingerprint=fingerprint, record=record)


def _stain(patches: Sequence[Patch], found: _Found | None, staining: StainNormalization) -> NormalizedPatches:
    images = {patch.patch_id: patch.image for patch in patches}
    if found is None:
        return normalize_each(images, staining)
    return apply_fit(images, found.fit, found.status, staining)


def _describe(
    store: Path,
    source: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
    staining: StainNormalization,
    *,
    target: str,
    spread: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The manifest: that of the raw store, with what was done to its colors."""
    statuses: Counter[str] = Counter()
    stains: dict[str, dict[str, Any]] = {}
    for record in records:
        statuses.update(record["statuses"])
        for name, stain in record["stains"].items():
            stains[name] = _joined(stains.get(name), stain)
    settings = {"stain": staining.method, "stain_target": target, "stain_per": staining.per}
    manifest = {
        **source,
        "settings": {**source.get("settings", {}), **settings},
        "versions": versions(),
        "staining": {**staining.to_dict(), "patches": dict(sorted(statuses.items())), "between_slides": spread},
        "normalized_from": {"store": store.resolve().name, "versions": source.get("versions")},
    }
    if "slides" in source:
        slides = [{**slide, "stain": stains.pop(slide["slide_id"], slide.get("stain"))} for slide in source["slides"]]
        manifest["slides"] = slides
    if stains:
        manifest["staining"]["slides"] = dict(sorted(stains.items()))
    return manifest


def _joined(first: Mapping[str, Any] | None, second: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a slide whose patches lie in several parts."""
    if first is None or "fits" not in first:
        return dict(second)
    status = Counter(first["status"]) + Counter(second["status"])
    return {**first, "status": dict(status), "fits": {**first["fits"], **second["fits"]}}
