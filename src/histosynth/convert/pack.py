"""Conversion of a folder of tiles made elsewhere into a patch store: real tissue, or samples of another generator.

A tile becomes one patch, or with `crop_px` the patches of a grid without overlap; `size_px` shrinks them by area
averaging. `x`, `y`, `extent` are in pixels of the tile. Every tile is read completely before the first part is written,
so that unusable tiles are reported at the start. A part holds about a thousand patches of one label, is complete or
absent, and stores a fingerprint of everything that it was made from. Rerunning the command makes only missing parts.
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
from histosynth.store.png import synthetic_mark
from histosynth.store.scale import area_average
from histosynth.store.source import check_generator
from histosynth.store.store import list_parts, write_manifest

_PART_PATCHES = 1000
_MAX_NAMED = 5  # tiles in an error message


@dataclass(frozen=True, kw_only=True)
class PackResult:
    """The outcome of `pack`."""

    store: Path
    patches: int
    tiles: int
    parts_resumed: int
    """Parts that existed already."""
    parts_remade: int
    """Parts that existed, but had been made from other tiles or options."""
    patients: int
    tiles_without_patient: int
    """Tiles without a known patient; each counts as a separate patient."""
    tiles_skipped: Mapping[str, str]
    """Reason by file name."""
    tiles_unlabeled: tuple[str, ...]
    labels_without_tile: tuple[str, ...]
    other_files: int
    mpp: tuple[float, ...]
    """Distinct microns per pixel of the tiles; none where unknown."""
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
    generator: str | None = None,
    skip_bad_tiles: bool = False,
    progress: bool = True,
) -> PackResult:
    """Make a patch store from tiles, or resume an interrupted call.

    Args:
        folder: one subfolder per class; with `labels`, any folder of tiles.
        out: directory of the store; created if absent.
        settings: `held_out`, `held_out_patients`, `folds`, `fold` and `seed` determine the split; the rest is ignored.
        labels: CSV of file and label, optionally also patient (or group) and split.
        mpp: microns per pixel of the tiles where a file states none; None: unknown.
        size_px: side of a patch; None: that of the tiles, which must then all have the same size.
        crop_px: side of the squares to crop from each tile; None: the whole tile, which must then be square.
        generator: the model that made all the tiles; None: they are real, unless their marks name a generator.
        skip_bad_tiles: list unusable tiles in the manifest instead of raising an error.
        progress: show progress bars on stderr.

    Raises:
        HistosynthError: invalid input (the message says which), or no tile to pack.
        OSError: the store cannot be written; finished parts remain, and the same call resumes.
    """
    # Input
    if not folder.is_dir():
        raise HistosynthError(f"no folder of tiles '{folder}'; check the path")
    if mpp is not None and plausible_mpp(mpp) is None:
        raise HistosynthError(f"{mpp:g} microns per pixel is out of range; a 20x scan has about 0.5, a 40x one 0.25")
    if size_px and crop_px and size_px > crop_px:
        raise HistosynthError(
            f"a crop of {crop_px} px cannot become a patch of {size_px} px; lower --size, or raise --crop"
        )
    if out.resolve().is_relative_to(folder.resolve()):
        raise HistosynthError(f"--out {out} is inside the folder of tiles; choose a directory outside {folder}")
    if generator is not None:
        check_generator(generator, where="--source")
    _reject_foreign_parts(out, folder)

    # Tiles, their split, and the parts to make
    listing = list_labeled_tiles(folder, labels) if labels else list_class_folders(folder)
    tiles, bad = check_tiles(
        listing, folder, mpp=mpp, size_px=size_px, crop_px=crop_px, generator=generator, progress=progress
    )
    if bad and not skip_bad_tiles:
        _reject_bad_tiles(bad)
    if not tiles:
        raise HistosynthError(_nothing_to_pack(folder, listing, bad))
    split = _split(tiles, settings)
    patch_px = size_px or crop_px or tiles[0].width_px
    jobs = {
        part_path(out, name): (block, _fingerprint(block, split, crop_px=crop_px, patch_px=patch_px))
        for name, block in _blocks(tiles, crop_px=crop_px)
    }

    # Parts: keep those that are current, delete the others, make what is missing
    existing = set(out.glob("part-*.parquet"))
    kept = {part for part in existing & set(jobs) if part_fingerprint(part) == jobs[part][1]}
    for stale in {out / MANIFEST, *existing, *out.glob(".*.tmp")} - kept:
        stale.unlink(missing_ok=True)
    with tqdm(total=len(tiles), desc="packing", unit="tile", disable=not progress) as bar:
        for part, (block, fingerprint) in jobs.items():
            if part not in kept:
                rows = _patches(block, split, crop_px=crop_px, patch_px=patch_px, bar=bar)
                record = describe_part(block, split, crop_px=crop_px, folder=folder)
                write_part(part, rows, fingerprint=fingerprint, record=record)
            else:
                bar.update(len(block))

    # Manifest
    records = [part_record(part) for part in jobs]
    manifest = describe_pack(tiles, records, split, listing, bad, labels=labels)
    manifest["settings"] = {
        "packed": folder.resolve().name, "mpp": mpp, "size_px": size_px, "crop_px": crop_px, "source": generator,
        **settings.model_dump(mode="json", include={"held_out", "held_out_patients", "folds", "fold", "seed"}),
    }  # fmt: skip
    write_manifest(out, manifest)
    return PackResult(
        store=out,
        patches=manifest["totals"]["patches"],
        tiles=len(tiles),
        parts_resumed=len(kept),
        parts_remade=len(existing - kept),
        patients=manifest["totals"]["patients"],
        tiles_without_patient=manifest["totals"]["tiles_without_patient"],
        tiles_skipped=bad,
        tiles_unlabeled=listing.unlabeled,
        labels_without_tile=listing.without_tile,
        other_files=listing.other_files,
        mpp=tuple(manifest["mpp"]),
        patches_by_label=manifest["labels"],
    )


def _reject_bad_tiles(bad: Mapping[str, str]) -> None:
    first = next(iter(bad.values()))
    if len(bad) == 1:
        raise HistosynthError(f"{first} (or pass --skip-bad-tiles to leave it out)")
    others = [*bad][1 : _MAX_NAMED + 1]
    raise HistosynthError(
        f"{len(bad)} tiles cannot be used, the first of them: {first} (the others: {', '.join(others)}"
        f"{' …' if len(bad) > _MAX_NAMED + 1 else ''}); fix them, or pass --skip-bad-tiles to leave them out"
    )


def _nothing_to_pack(folder: Path, listing: TileListing, bad: Mapping[str, str]) -> str:
    reasons = {
        "unusable": [*bad.values()],
        "without a label": listing.unlabeled,
        "rows without a file": listing.without_tile,
    }
    counts = ", ".join(f"{len(names)} {reason}, such as {names[0]}" for reason, names in reasons.items() if names)
    return f"no usable tile in {folder} ({counts or 'no PNG, JPEG or TIFF'}); check the folder and --labels"


def _split(tiles: Sequence[CheckedTile], settings: PatchSettings) -> dict[str, str]:
    """Return the split of each patient: from the table, else by the settings, within each combination of labels."""
    labels: dict[str, set[str]] = {}
    for tile in tiles:
        labels.setdefault(tile.patient_id, set()).add(tile.entry.label)
    check_split_settings(settings, table=False)
    stated = {tile.patient_id: tile.entry.split for tile in tiles if tile.entry.split is not None}
    if stated and (settings.held_out_patients or settings.folds):
        rule = "held_out_patients" if settings.held_out_patients else "folds"
        raise HistosynthError(f"the table has a split column, and patches.{rule} is set; use one of them")
    if stated:
        return {patient: stated[patient] or TRAIN for patient in labels}
    return split_by_settings(settings, {patient: "\0".join(sorted(names)) for patient, names in labels.items()})


def _blocks(tiles: Sequence[CheckedTile], *, crop_px: int | None) -> Iterator[tuple[str, list[CheckedTile]]]:
    """Yield the name and the tiles of each part: one label, and about a thousand patches."""
    for label in sorted({tile.entry.label for tile in tiles}):
        name = quote(label, safe=" ")
        if len(name) > 100:
            name = f"{name[:80]}-{hashlib.sha256(label.encode()).hexdigest()[:12]}"
        blocks: list[list[CheckedTile]] = [[]]
        patches = 0
        for tile in (tile for tile in tiles if tile.entry.label == label):
            count = len(tile.boxes(crop_px))
            if blocks[-1] and patches + count > _PART_PATCHES:
                blocks.append([])
                patches = 0
            blocks[-1].append(tile)
            patches += count
        yield from ((f"{name}-{number:05d}", block) for number, block in enumerate(blocks))


def _fingerprint(block: Sequence[CheckedTile], split: Mapping[str, str], *, crop_px: int | None, patch_px: int) -> str:
    tiles = [
        [t.entry.tile_id, t.entry.label, t.patient_id, split[t.patient_id], t.mpp, t.source, t.sha256] for t in block
    ]
    made_from = {"version": __version__, "crop_px": crop_px, "patch_px": patch_px, "tiles": tiles}
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def _patches(
    block: Sequence[CheckedTile], split: Mapping[str, str], *, crop_px: int | None, patch_px: int, bar: "tqdm[Any]"
) -> Iterator[Patch]:
    for tile in block:
        tile_id, real = tile.entry.tile_id, tile.generator is None
        with ImageReader(tile.entry.path) as image:
            for box in tile.boxes(crop_px):
                yield Patch(
                    patch_id=f"{tile_id}_{box.x}_{box.y}" if crop_px else tile_id,
                    image=area_average(image.read(box), side_px=patch_px),
                    source=tile.source,
                    label=tile.entry.label,
                    slide_id=tile_id if real else None,
                    patient_id=tile.patient_id if real else None,
                    x=box.x if real else None,
                    y=box.y if real else None,
                    extent=box.width if real else None,
                    mpp=tile.mpp * box.width / patch_px if tile.mpp else None,
                    split=split[tile.patient_id] if real else None,
                    texts=None if tile.generator is None else synthetic_mark(tile.generator),
                )
        bar.update()


def _reject_foreign_parts(out: Path, folder: Path) -> None:
    """Raise unless `out` is absent, empty, or a store packed from a folder of this name, complete or not."""
    for part in list_parts(out):
        if part_fingerprint(part) is not None and part_record(part).get("packed") != folder.resolve().name:
            raise HistosynthError(
                f"the store {out} holds patches that were not packed from a folder '{folder.name}', such as "
                f"{part.name}; choose another --out"
            )
