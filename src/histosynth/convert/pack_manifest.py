"""The manifest of a packed store. It depends on the input of the command, not on when or how often it ran."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from histosynth.cohort.split import HELD_OUT, TRAIN
from histosynth.convert.tile_images import CheckedTile
from histosynth.convert.tiles import TileListing
from histosynth.rundir import versions

_FEW_PATIENTS = 10_000  # above it, patients are counted instead of listed


def describe_part(
    block: Sequence[CheckedTile], split: Mapping[str, str], *, crop_px: int | None, folder: Path
) -> dict[str, Any]:
    """Return the facts about one part for the manifest."""
    counts: Counter[str] = Counter()
    for tile in block:
        name = split[tile.patient_id] if tile.generator is None else "null"
        counts[name] += len(tile.boxes(crop_px))
    label = block[0].entry.label
    return {
        "packed": folder.resolve().name,
        "label": label,
        "tiles": len(block),
        "patches": sum(counts.values()),
        "split": dict(counts),
    }


def describe_pack(
    tiles: Sequence[CheckedTile],
    records: Sequence[Mapping[str, Any]],
    split: Mapping[str, str],
    listing: TileListing,
    bad: Mapping[str, str],
    *,
    labels: Path | None,
) -> dict[str, Any]:
    """Return the manifest without the settings.

    Args:
        tiles: the packed tiles.
        records: the result of `describe_part` for each part.
        split: `train` or `held_out` by patient.
        listing: the content of the folder.
        bad: reason for each skipped tile, by file name.
        labels: the table, if any.
    """
    # Counts by label and split, and patients
    real = [tile for tile in tiles if tile.generator is None]
    by_label: dict[str, dict[str, int]] = {}
    for record in records:
        counts = by_label.setdefault(record["label"], {TRAIN: 0, HELD_OUT: 0} if real else {})
        for name, count in record["split"].items():
            counts[name] = counts.get(name, 0) + count
    named = {tile.entry.patient_id for tile in real} - {None}
    unknown = sum(tile.entry.patient_id is None for tile in real)
    patients = {name: sorted(p for p in split if split[p] == name) for name in (TRAIN, HELD_OUT)} if real else {}

    # The manifest, in the order in which it is written
    return {
        **({} if real else {"synthetic": True, "source": ", ".join(sorted({tile.source for tile in tiles}))}),
        "versions": versions(),
        "table": labels.name if labels else None,
        "patients_known": bool(named) and not unknown,
        "patients_note": (
            f"the patient of {unknown} tile(s) is unknown: each counts as a separate patient, so that tiles of one "
            "patient may be in both splits" if unknown else None
        ),
        "mpp": sorted({tile.mpp for tile in tiles if tile.mpp is not None}),
        "totals": {
            "tiles": len(tiles),
            "tiles_skipped": len(bad),
            "tiles_unlabeled": len(listing.unlabeled),
            "tiles_without_patient": unknown,
            "other_files": listing.other_files,
            "patients": len(named) + unknown,
            "patches": sum(record["patches"] for record in records),
        },
        "labels": by_label,
        "patients": patients if len(split) <= _FEW_PATIENTS else {name: len(ids) for name, ids in patients.items()},
        "parts": list(records),
        "tiles_skipped": dict(bad),
        "tiles_unlabeled": list(listing.unlabeled),
        "labels_without_tile": list(listing.without_tile),
    }  # fmt: skip
