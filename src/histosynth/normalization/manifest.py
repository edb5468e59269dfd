"""The manifest of a normalized store: that of the raw store, with the facts about the normalization."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from histosynth.normalization.staining import StainNormalization
from histosynth.rundir import versions


def describe_normalization(
    store: Path,
    source: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
    normalization: StainNormalization,
    *,
    target: str,
    spread: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return the manifest of the raw store, with the facts about the normalization."""
    # Statuses, and the record of each slide
    statuses: Counter[str] = Counter()
    stains: dict[str, dict[str, Any]] = {}
    for record in records:
        statuses.update(record["statuses"])
        for name, stain in record["stains"].items():
            stains[name] = _merge_records(stains.get(name), stain)

    # Manifest
    settings = {"stain": normalization.method, "stain_target": target, "stain_per": normalization.per}
    settings["stain_fallback"] = normalization.fallback.method if normalization.fallback else ""
    manifest = {
        **source,
        "settings": {**source.get("settings", {}), **settings},
        "versions": versions(),
        "staining": {**normalization.to_dict(), "patches": dict(sorted(statuses.items())), "between_slides": spread},
        "normalized_from": {"store": store.resolve().name, "versions": source.get("versions")},
    }
    if "slides" in source:
        slides = [{**slide, "stain": stains.pop(slide["slide_id"], slide.get("stain"))} for slide in source["slides"]]
        manifest["slides"] = slides
    if stains:
        manifest["staining"]["slides"] = dict(sorted(stains.items()))
    return manifest


def _merge_records(first: Mapping[str, Any] | None, second: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the records of a slide whose patches are in several parts."""
    if first is None or "fits" not in first:
        return dict(second)
    status = Counter(first["status"]) + Counter(second["status"])
    return {**first, "status": dict(status), "fits": {**first["fits"], **second["fits"]}}
