"""What a packed store says of itself. It depends on what the command was given, not on when or how often it ran."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from histosynth.cohort.split import HELD_OUT, TRAIN
from histosynth.convert.tile_images import CheckedTile
from histosynth.convert.tiles import TileListing
from histosynth.rundir import versions

_FEW_PATIENTS = 10_000  # more are counted, not named


def describe_part(
    block: Sequence[CheckedTile], split: Mapping[str, str], *, crop_px: int | None, folder: Path
) -> dict[str, Any]:
    """What the manifest says of one part."""
    sides: Counter[str] = Counter()
    for seen in block:
        side = split[seen.patient_id] if seen.source == "real" else "null"
        sides[side] += len(seen.boxes(crop_px))
    label = block[0].tile.label
    return {
        "packed": folder.resolve().name,
        "label": label,
        "tiles": len(block),
        "patches": sum(sides.values()),
        "split": dict(sides),
    }


def describe_pack(
    seen: Sequence[CheckedTile],
    records: Sequence[Mapping[str, Any]],
    split: Mapping[str, str],
    listing: TileListing,
    bad: Mapping[str, str],
    *,
    labels: Path | None,
) -> dict[str, Any]:
    """The manifest, but for the settings.

    Args:
        seen: the tiles packed.
        records: one a part, as `part_facts` has it.
        split: `train` or `held_out` by patient.
        listing: what lay in the folder.
        bad: why tiles were skipped, by name.
        labels: the table, where given.
    """
    real = [found for found in seen if found.source == "real"]
    by_label: dict[str, dict[str, int]] = {}
    for record in records:
        counts = by_label.setdefault(record["label"], {TRAIN: 0, HELD_OUT: 0} if real else {})
        for side, count in record["split"].items():
            counts[side] = counts.get(side, 0) + count
    named = {found.tile.patient_id for found in real} - {None}
    alone = sum(found.tile.patient_id is None for found in real)
    patients = {side: sorted(p for p in split if split[p] == side) for side in (TRAIN, HELD_OUT)} if real else {}
    return {
        **({} if real else {"synthetic": True, "source": ", ".join(sorted({found.source for found in seen}))}),
        "versions": versions(),
        "table": labels.name if labels else None,
        "patients_known": bool(named) and not alone,
        "patients_note": (
            f"nothing names the patient of {alone} tile(s): each counts as a patient of its own, so tiles of one "
            "patient may lie on both sides of the split" if alone else None
        ),
        "mpp": sorted({found.mpp for found in seen if found.mpp is not None}),
        "totals": {
            "tiles": len(seen),
            "tiles_skipped": len(bad),
            "tiles_unlabeled": len(listing.unlabeled),
            "tiles_without_patient": alone,
            "other_files": listing.other_files,
            "patients": len(named) + alone,
            "patches": sum(record["patches"] for record in records),
        },
        "labels": by_label,
        "patients": patients if len(split) <= _FEW_PATIENTS else {side: len(names) for side, names in patients.items()},
        "parts": list(records),
        "tiles_skipped": dict(bad),
        "tiles_unlabeled": list(listing.unlabeled),
        "labels_without_tile": list(listing.without_tile),
    }  # fmt: skip
