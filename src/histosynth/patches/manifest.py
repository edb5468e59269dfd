"""What a patch store says of itself: settings, versions, what became of every slide and of every place of the grid.

It depends on what the command was given, not on when, how often or with how many processes it ran.
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
    table: LabelTable | None,
    split_table: SplitTable | None,
    mpp: float | None,
) -> dict[str, Any]:
    """The manifest of a store, from the records of its parts and the slides that have none.

    Args:
        records: one a part, as `extract_slide` wrote it.
        skips: the other slides.
        settings: what was cut.
        staining: what was done to the colors.
        outlined: whether outlines were given.
        table: the labels, where given.
        split_table: the split table, where given.
        mpp: microns per pixel that stood in where a slide states none, where given.
    """
    rejected: Counter[str] = Counter()
    labels: dict[str, dict[str, int]] = {}
    patients: dict[str, set[str]] = {TRAIN: set(), HELD_OUT: set()}
    for record in records:
        rejected.update(record["rejected"])
        labels.setdefault(record["label"] or "null", {TRAIN: 0, HELD_OUT: 0})[record["split"]] += record["patches"]
        if record["patches"]:
            patients[record["split"]].add(record["patient_id"])
    told = [{key: value for key, value in record.items() if key != FLAWED} for record in records]
    slides = [*told, *(skip.record for skip in skips)]
    ids = [str(slide["slide_id"]) for slide in slides]
    return {
        "settings": settings.model_dump(mode="json"),
        "versions": versions(),
        "mpp_where_unstated": mpp,
        "staining": staining.to_dict(),
        "outlines": _classes(settings) if outlined else TISSUE_ONLY,
        "labels_table": table.describe(ids) if table else None,
        "split": split_table.describe(patients_of(ids, table)) if split_table else {"by": split_rule(settings)},
        "totals": {
            "slides_done": len(records),
            "slides_skipped": len(skips),
            "patients": len(patients[TRAIN] | patients[HELD_OUT]),
            "patches": sum(record["patches"] for record in records),
            "candidates": sum(record["candidates"] for record in records),
            "rejected": dict(rejected),
        },
        "labels": dict(sorted(labels.items())),
        "patients": {split: sorted(names) for split, names in patients.items()},
        "slides": sorted(slides, key=lambda slide: str(slide["slide_id"])),
    }


def _classes(settings: PatchSettings) -> str:
    excluded = f" without {', '.join(settings.exclude_classes)}" if settings.exclude_classes else ""
    return f"class {', '.join(settings.tumor_classes)}{excluded}"
