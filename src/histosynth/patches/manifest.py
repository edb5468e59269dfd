"""Manifest of a patch store: settings, versions, and the status of every slide and count of its candidate regions.

It depends only on the inputs of the command, not on when, how often or with how many processes it ran.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from histosynth.cohort.labels import LabelTable
from histosynth.cohort.split import HELD_OUT, TRAIN, split_rule
from histosynth.cohort.split_table import SplitTable
from histosynth.config import PatchSettings
from histosynth.normalization.staining import StainNormalization
from histosynth.patches.extract_slide import FLAWED
from histosynth.patches.plan import SkippedSlide, patients_of
from histosynth.rundir import versions

TISSUE_ONLY = "none: tissue only"


def build_manifest(
    records: Sequence[Mapping[str, Any]],
    skips: Sequence[SkippedSlide],
    *,
    settings: PatchSettings,
    staining: StainNormalization,
    outlined: bool,
    labels: LabelTable | None,
    split_table: SplitTable | None,
    mpp: float | None,
    mpp_by_slide: Mapping[str, float] | None,
) -> dict[str, Any]:
    """Return the manifest of a store, from the records of its parts and the slides that have none.

    Args:
        records: one per part, as `extract_slide` wrote it.
        skips: the other slides.
        settings: placement, scaling and split of the patches.
        staining: stain normalization of the patches.
        outlined: True if outlines were given.
        labels: the table of labels, if given.
        split_table: the split table, if given.
        mpp: microns per pixel for slides that state none, if given.
        mpp_by_slide: microns per pixel that override those that slides state, if given.
    """
    # Count patches and rejected regions.
    rejected: Counter[str] = Counter()
    by_label: dict[str, dict[str, int]] = {}
    patients: dict[str, set[str]] = {TRAIN: set(), HELD_OUT: set()}
    for record in records:
        rejected.update(record["rejected"])
        by_label.setdefault(record["label"] or "null", {TRAIN: 0, HELD_OUT: 0})[record["split"]] += record["patches"]
        if record["patches"]:
            patients[record["split"]].add(record["patient_id"])
    # List all slides, without the corners that only previews need.
    extracted = [{key: value for key, value in record.items() if key != FLAWED} for record in records]
    slides = [*extracted, *(skip.record for skip in skips)]
    ids = [str(slide["slide_id"]) for slide in slides]
    manifest: dict[str, Any] = {
        "settings": settings.model_dump(mode="json"),
        "versions": versions(),
        "mpp_where_unstated": mpp,
        "staining": staining.to_dict(),
        "outlines": _classes(settings) if outlined else TISSUE_ONLY,
        "labels_table": labels.describe(ids) if labels else None,
        "split": split_table.describe(patients_of(ids, labels)) if split_table else {"by": split_rule(settings)},
        "totals": {
            "slides_done": len(records),
            "slides_skipped": len(skips),
            "patients": len(patients[TRAIN] | patients[HELD_OUT]),
            "patches": sum(record["patches"] for record in records),
            "candidates": sum(record["candidates"] for record in records),
            "rejected": dict(rejected),
        },
        "labels": dict(sorted(by_label.items())),
        "patients": {split: sorted(names) for split, names in patients.items()},
        "slides": sorted(slides, key=lambda slide: str(slide["slide_id"])),
    }
    if mpp_by_slide is not None:
        manifest["mpp_table"] = {slide_id: mpp_by_slide[slide_id] for slide_id in sorted(set(ids) & set(mpp_by_slide))}
        manifest["mpp_table_without_slide"] = sorted(set(mpp_by_slide) - set(ids))
    return manifest


def _classes(settings: PatchSettings) -> str:
    excluded = f" without {', '.join(settings.exclude_classes)}" if settings.exclude_classes else ""
    return f"class {', '.join(settings.tumor_classes)}{excluded}"
