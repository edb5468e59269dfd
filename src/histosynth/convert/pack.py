"""From a folder of tiles to a patch store: the way in for images that were cut elsewhere.

A tile becomes one patch, or with `crop_px` the patches of a grid without overlap; `size_px` shrinks them by area
averaging. `x`, `y`, `extent` count pixels of the tile. Every tile is read whole before the first part is written, so a
bad one is known at the start. Parts hold about a thousand patches of one label; a part is done or it is not, carries a
fingerprint of all it was made from, and the same command again makes only what is missing.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tqdm import tqdm

from histosynth import __version__
from histosynth.cohort.split import TRAIN, check_split_settings, split_by_settings
from histosynth.config import PatchSettings
from histosynth.convert.pack_manifest import describe_pack, describe_part
from histosynth.convert.tile_images import CheckedTile, check_tiles
from histosynth.convert.tiles import TileListing, list_class_folders, list_labeled_tiles
from histosynth.errors import HistosynthError
from histosynth.rundir import MANIFEST, locks_output
from histosynth.slides.image import ImageReader
from histosynth.slides.mpp import plausible_mpp
from histosynth.store.part import Patch, part_fingerprint, part_path, part_record, write_part
from histosynth.store.scale import area_average
from histosynth.store.store import list_parts, write_manifest

_PART = 1000  # patches
_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class PackResult:
    """What `pack` did."""

    store: Path
    patches: int
    tiles: int
    parts_resumed: int
    """Parts that were there already."""
    parts_remade: int
    """Parts found that were made from other tiles or options, and so were made anew."""
    patients: int
    tiles_without_patient: int
    """Tiles whose patient nothing names: each counts as a patient of its own."""
    tiles_skipped: Mapping[str, str]
    """Reason by name."""
    tiles_unlabeled: tuple[str, ...]
    labels_without_tile: tuple[str, ...]
    other_files: int
    mpp: tuple[float, ...]
    """Microns per pixel of the tiles, each value once; none where not known."""
    patches_by_label: Mapping[str, Mapping[str, int]]
    """By label and split (`null` where synthetic)."""


@locks_output
def pack(
    folder: Path,
    *,
    out: Path,
    settings: PatchSettings,
    labels: Path | None = None,
    mpp: float | None = None,
    size_px: int | None = None,
    crop_px: int | None = None,
    skip_bad_tiles: bool = False,
    progress: bool = True,
) -> PackResult:
    """Make a patch store from tiles, or finish one that was begun.

    Args:
        folder: one subfolder a class; or any folder of tiles, with `labels`.
        out: directory of the store; made if absent.
        settings: `held_out`, `held_out_patients`, `folds`, `fold` and `seed` decide the split; the rest is for slides.
        labels: CSV of file and label, and perhaps patient (or group) and split.
        mpp: microns per pixel of the tiles, used where a file states none; None leaves it unknown.
        size_px: side of a patch; None keeps that of the tiles, which then must be of one size.
        crop_px: side of the squares to cut from each tile; None takes a tile, which then must be square, as a whole.
        skip_bad_tiles: name an unusable tile in the manifest and go on, instead of raising.
        progress: show bars on stderr.

    Raises:
        HistosynthError: bad input (see the text), or no tile to pack.
        OSError: the store cannot be written; what is finished stays, and the same call goes on.
    """
    if not folder.is_dir():
        raise HistosynthError(f"no folder of tiles '{folder}'; check the path")
    if mpp is not None and plausible_mpp(mpp) is None:
        raise HistosynthError(f"{mpp:g} microns per pixel is out of range; a 20x scan has about 0.5, a 40x one 0.25")
    if size_px and crop_px and size_px > crop_px:
        raise HistosynthError(
            f"a crop of {crop_px} px cannot become a patch of {size_px} px; lower --size, or raise --crop"
        )
    if out.resolve().is_relative_to(folder.resolve()):
        raise HistosynthError(f"--out {out} lies inside the folder of tiles; choose one outside of {folder}")
    _refuse_foreign(out, folder)
    listing = list_labeled_tiles(folder, labels) if labels else list_class_folders(folder)
    seen, bad = check_tiles(listing, folder, mpp=mpp, size_px=size_px, crop_px=crop_px, progress=progress)
    if bad and not skip_bad_tiles:
        _refuse_bad(bad)
    if not seen:
        raise HistosynthError(_nothing_to_pack(folder, listing, bad))
    split = _split(seen, settings)
    patch_px = size_px or crop_px or seen[0].width_px
    jobs = {
        part_path(out, name): (block, _fingerprint(block, split, crop_px=crop_px, patch_px=patch_px))
        for name, block in _blocks(seen, crop_px=crop_px)
    }

    there = set(out.glob("part-*.parquet"))
    kept = {part for part in there & set(jobs) if part_fingerprint(part) == jobs[part][1]}
    for stale in {out / MANIFEST, *there, *out.glob(".*.tmp")} - kept:
        stale.unlink(missing_ok=True)
    with tqdm(total=len(seen), desc="packing", unit="tile", disable=not progress) as bar:
        for part, (block, fingerprint) in jobs.items():
            if part not in kept:
                rows = _patches(block, split, crop_px=crop_px, patch_px=patch_px, bar=bar)
                record = describe_part(block, split, crop_px=crop_px, folder=folder)
                write_part(part, rows, fingerprint=fingerprint, record=record)
            else:
                bar.update(len(block))
    records = [part_record(part) for part in jobs]
    manifest = describe_pack(seen, records, split, listing, bad, labels=labels)
    manifest["settings"] = {
        "packed": folder.resolve().name, "mpp": mpp, "size_px": size_px, "crop_px": crop_px,
        **settings.model_dump(mode="json", include={"held_out", "held_out_patients", "folds", "fold", "seed"}),
    }  # fmt: skip
    write_manifest(out, manifest)
    return PackResult(
        store=out,
        patches=manifest["totals"]["patches"],
        tiles=len(seen),
        parts_resumed=len(kept),
        parts_remade=len(there - kept),
        patients=manifest["totals"]["patients"],
        tiles_without_patient=manifest["totals"]["tiles_without_patient"],
        tiles_skipped=bad,
        tiles_unlabeled=listing.unlabeled,
        labels_without_tile=listing.without_tile,
        other_files=listing.other_files,
        mpp=tuple(manifest["mpp"]),
        patches_by_label=manifest["labels"],
    )


def _refuse_bad(bad: Mapping[str, str]) -> None:
    first = next(iter(bad.values()))
    if len(bad) == 1:
        raise HistosynthError(f"{first} (--skip-bad-tiles goes on without it)")
    others = [*bad][1 : _NAMED + 1]
    raise HistosynthError(
        f"{len(bad)} tiles cannot be used, the first of them: {first} (the others: {', '.join(others)}"
        f"{' …' if len(bad) > _NAMED + 1 else ''}); mend them, or pass --skip-bad-tiles to leave them out"
    )


def _nothing_to_pack(folder: Path, listing: TileListing, bad: Mapping[str, str]) -> str:
    reasons = {
        "unusable": [*bad.values()],
        "without a label": listing.unlabeled,
        "rows without a file": listing.without_tile,
    }
    told = ", ".join(f"{len(names)} {reason}, such as {names[0]}" for reason, names in reasons.items() if names)
    return f"no tile of {folder} is left to pack ({told or 'no PNG, JPEG or TIFF in it'}); check folder and --labels"


def _split(seen: Sequence[CheckedTile], settings: PatchSettings) -> dict[str, str]:
    """The split of each patient: from the table, else as the settings say, drawn within each set of labels."""
    labels: dict[str, set[str]] = {}
    for found in seen:
        labels.setdefault(found.patient_id, set()).add(found.tile.label)
    check_split_settings(settings, table=False)
    stated = {found.patient_id: found.tile.split for found in seen if found.tile.split is not None}
    if stated and (settings.held_out_patients or settings.folds):
        rival = "held_out_patients names patients" if settings.held_out_patients else "folds parts them"
        raise HistosynthError(f"the table has a split column and patches.{rival}; use one of them")
    if stated:
        return {patient: stated[patient] or TRAIN for patient in labels}
    return split_by_settings(settings, {patient: "\0".join(sorted(found)) for patient, found in labels.items()})


def _blocks(seen: Sequence[CheckedTile], *, crop_px: int | None) -> Iterator[tuple[str, list[CheckedTile]]]:
    """Tiles by part: each of one label, and of about a thousand patches; with the name of the part."""
    for label in sorted({found.tile.label for found in seen}):
        name = quote(label, safe=" ")
        if len(name) > 100:
            name = f"{name[:80]}-{hashlib.sha256(label.encode()).hexdigest()[:12]}"
        blocks: list[list[CheckedTile]] = [[]]
        patches = 0
        for found in (found for found in seen if found.tile.label == label):
            more = len(found.boxes(crop_px))
            if blocks[-1] and patches + more > _PART:
                blocks.append([])
                patches = 0
            blocks[-1].append(found)
            patches += more
        yield from ((f"{name}-{number:05d}", block) for number, block in enumerate(blocks))


def _fingerprint(block: Sequence[CheckedTile], split: Mapping[str, str], *, crop_px: int | None, patch_px: int) -> str:
    tiles = [
        [t.tile.tile_id, t.tile.label, t.patient_id, split[t.patient_id], t.mpp, t.source, t.sha256] for t in block
    ]
    made_from = {"version": __version__, "crop_px": crop_px, "patch_px": patch_px, "tiles": tiles}
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def _patches(
    block: Sequence[CheckedTile], split: Mapping[str, str], *, crop_px: int | None, patch_px: int, bar: "tqdm[Any]"
) -> Iterator[Patch]:
    for seen in block:
        tile, real = seen.tile, seen.source == "real"
        with ImageReader(tile.path) as image:
            for box in seen.boxes(crop_px):
                yield Patch(
                    patch_id=f"{tile.tile_id}_{box.x}_{box.y}" if crop_px else tile.tile_id,
                    image=area_average(image.read(box), side_px=patch_px),
                    source=seen.source,
                    label=tile.label,
                    slide_id=tile.tile_id if real else None,
                    patient_id=seen.patient_id if real else None,
                    x=box.x if real else None,
                    y=box.y if real else None,
                    extent=box.width if real else None,
                    mpp=seen.mpp * box.width / patch_px if seen.mpp else None,
                    split=split[seen.patient_id] if real else None,
                )
        bar.update()


def _refuse_foreign(out: Path, folder: Path) -> None:
    """Raise unless `out` is absent, empty, or a store packed from a folder of this name, finished or not."""
    for part in list_parts(out):
        if part_fingerprint(part) is not None and part_record(part).get("packed") != folder.resolve().name:
            raise HistosynthError(
                f"the store {out} holds patches that do not come from a folder '{folder.name}', such as {part.name}; "
                "choose another --out"
            )
