"""Listing of the tiles in a folder, with the class, the patient and optionally the split of each.

Two layouts are supported: a subfolder per class (its name is the label), or images anywhere in the folder and a table
of file and label, as for the CRC and PCam tiles. The id of a tile is its path below the folder without suffix, joined
by `_`; a name that begins with the name of its folder does not repeat it (`TUM/TUM_7.png` is `TUM_7`). Where no table
names the patient, the id is taken from a barcode; otherwise the tile counts as a separate patient. Labels and ids are
in their composed spelling (NFC), however a file system spells the names of folders and files.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NoReturn

from histosynth.cohort.labels import LABEL_COLUMNS, patient_id_of
from histosynth.cohort.split import HELD_OUT, TRAIN
from histosynth.cohort.table import PATIENT_COLUMNS, SLIDE_COLUMNS, cell_text, read_table
from histosynth.errors import HistosynthError
from histosynth.slides.files import IMAGE_SUFFIXES, TIFF_SUFFIXES, slide_id_of
from histosynth.text import nfc

SUFFIXES = IMAGE_SUFFIXES | TIFF_SUFFIXES
FILE_COLUMNS = ("file", "file_name", "filename", "path", "filepath", "tile", "tile_id", "patch", "patch_id")
GROUP_COLUMNS = ("group", "group_id")
SPLIT_COLUMNS = ("split", "subset", "partition")
_SPLITS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("held_out", "heldout", "holdout", "test", "testing", "val", "valid", "validation"), HELD_OUT),
}


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One image to pack."""

    path: Path
    tile_id: str
    label: str
    patient_id: str | None
    """None: unknown, so that the tile counts as a separate patient."""
    split: str | None = None
    """From the table; None: determined by the settings."""


@dataclass(frozen=True, kw_only=True)
class TileListing:
    """The content of a folder. Names are paths relative to it."""

    tiles: tuple[Tile, ...]
    bad: Mapping[str, str] = field(default_factory=dict)
    """Reason for each unusable tile or folder, by name."""
    unlabeled: tuple[str, ...] = ()
    """Files without a label in the table."""
    without_tile: tuple[str, ...] = ()
    """Names in the table that match no file."""
    other_files: int = 0
    """Number of files that are not PNG, JPEG or TIFF; hidden files are ignored."""


def list_class_folders(folder: Path) -> TileListing:
    """List the tiles of a folder with one subfolder per class.

    Raises:
        HistosynthError: no subfolder, two that differ only in letter case, or two tiles with the same id.
    """
    # Classes
    entries = _entries(folder)
    classes = [entry for entry in entries if entry.is_dir()]
    if not classes:
        raise HistosynthError(
            f"the folder {folder} has no subfolders; create one per class, or give the class of each tile with "
            "--labels CSV"
        )
    _reject_case_variants([nfc(entry.name) for entry in classes], where=f"the folder {folder}")

    # Tiles, and whatever is neither a class nor a tile
    bad: dict[str, str] = {}
    tiles: list[Tile] = []
    other = 0
    for entry in entries:
        inside = _entries(entry) if entry.is_dir() else [entry]
        images = [file for file in inside if file.is_file() and file.suffix.lower() in SUFFIXES]
        folders = [file for file in inside if file.is_dir()]
        other += len(inside) - len(images) - len(folders)
        if entry.is_file():
            bad |= {file.name: f"tile {file} is outside the class folders; move it into one" for file in images}
            continue
        if not images:
            bad[entry.name] = f"class folder {entry} contains no PNG, JPEG or TIFF tile; add tiles or delete it"
        for below in folders:
            bad[f"{entry.name}/{below.name}"] = (
                f"class folder {entry} contains a folder, {below.name}; move its tiles up"
            )
        for file in images:
            stem = slide_id_of(file)
            tile_id = _tile_id(file.relative_to(folder))
            tiles.append(Tile(path=file, tile_id=tile_id, label=nfc(entry.name), patient_id=_barcode(stem)))
    return TileListing(tiles=_distinct(tiles), bad=bad, other_files=other)


def list_labeled_tiles(folder: Path, table: Path) -> TileListing:
    """List the tiles of a folder by a table of file and label, optionally also patient (or group) and split.

    The table names files by their path below the folder or, where that is unique, by name or name without suffix.

    Raises:
        HistosynthError: an unreadable table or missing columns; a name that leads out of the folder or matches several
            files; contradictory rows for a tile or patient; two labels that differ only in letter case.
    """
    # Files that each name in the table may mean
    files = sorted(file for file in folder.rglob("*") if file.is_file() and not _hidden(file, folder))
    images = [file for file in files if file.suffix.lower() in SUFFIXES]
    rows = list(_rows(table))
    index: dict[str, set[Path]] = {row.file: set() for row in rows}
    for file in images:
        below = file.relative_to(folder)
        for name in (below.as_posix(), below.with_name(slide_id_of(below)).as_posix(), file.name, slide_id_of(file)):
            if nfc(name) in index:
                index[nfc(name)].add(file)

    # Row of each file
    by_file: dict[Path, _Row] = {}
    without_tile: set[str] = set()
    for row in rows:
        exact = {file for file in index[row.file] if nfc(file.relative_to(folder).as_posix()) == row.file}
        matches = exact or index[row.file]
        if len(matches) > 1:
            row.reject(
                f"'{row.file}' matches {len(matches)} files in {folder}; give the path of each below that folder"
            )
        for file in matches:
            first = by_file.setdefault(file, row)
            if first.content != row.content:
                row.reject(f"contradicts line {first.line} on {row.file}; correct one of them")
        if not matches:
            without_tile.add(row.file)

    # Tiles with a label
    labeled = {file: row for file, row in by_file.items() if row.label is not None}
    _reject_case_variants(sorted({str(row.label) for row in labeled.values()}), where=f"the table {table}")
    _reject_two_splits(labeled.values())
    tiles = [
        Tile(
            path=file,
            tile_id=_tile_id(file.relative_to(folder)),
            label=str(row.label),
            patient_id=row.patient or _barcode(slide_id_of(file)),
            split=row.split,
        )
        for file, row in labeled.items()
    ]
    return TileListing(
        tiles=_distinct(tiles),
        unlabeled=tuple(file.relative_to(folder).as_posix() for file in images if file not in labeled),
        without_tile=tuple(sorted(without_tile)),
        other_files=sum(file.resolve() != table.resolve() for file in files) - len(images),
    )


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One row of the table; `line` counts from 1, including header and comments; `where` names it in errors."""

    where: str
    line: int
    file: str
    label: str | None
    patient: str | None
    split: str | None

    @property
    def content(self) -> tuple[str | None, ...]:
        return self.label, self.patient, self.split

    def reject(self, why: str) -> NoReturn:
        raise HistosynthError(f"{self.where}: {why}")


def _rows(path: Path) -> Iterator[_Row]:
    table = read_table(path, what="labels", example="file,label,patient_id")
    file = table.require_column((*FILE_COLUMNS, *SLIDE_COLUMNS, "id"), what="file")
    label = table.require_column(LABEL_COLUMNS, what="label")
    patient, split = table.find_column((*PATIENT_COLUMNS, *GROUP_COLUMNS)), table.find_column(SPLIT_COLUMNS)
    for line, cells in table.rows:
        where = f"{table.name}, line {line}"
        text = (cell_text(cells, split) or "").lower().replace("-", "_")
        if split is not None and text not in _SPLITS:
            raise HistosynthError(f"{where}: split '{text}' is unknown; use {TRAIN} or {HELD_OUT}")
        yield _Row(
            where=where,
            line=line,
            file=_below(cells[file] if file < len(cells) else "", where=where),
            label=cell_text(cells, label),
            patient=cell_text(cells, patient),
            split=_SPLITS[text] if text else None,
        )


def _below(name: str, *, where: str) -> str:
    """Return the name as a relative path with slashes; reject one that could lead out of the folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive:
        raise HistosynthError(f"{where}: '{name}' leads out of the folder of tiles; use paths below it")
    if not path.parts:
        raise HistosynthError(f"{where}: no file is named; add it or delete the line")
    return path.as_posix()


def _reject_case_variants(labels: Sequence[str], *, where: str) -> None:
    spelled: dict[str, str] = {}
    for label in labels:
        if (other := spelled.setdefault(label.casefold(), label)) != label:
            raise HistosynthError(
                f"{where} has the classes '{other}' and '{label}', which differ only in letter case; rename one"
            )


def _reject_two_splits(rows: Iterable[_Row]) -> None:
    first: dict[str, _Row] = {}
    for row in rows:
        if row.patient and (other := first.setdefault(row.patient, row)).split != row.split:
            row.reject(
                f"patient {row.patient} is in {row.split} here and in {other.split} in line {other.line}; "
                "a patient has one split, so correct the column or remove it"
            )


def _distinct(tiles: Sequence[Tile]) -> tuple[Tile, ...]:
    """Return the tiles sorted by label and id; reject two with the same id."""
    first: dict[str, Tile] = {}
    for tile in tiles:
        if (other := first.setdefault(tile.tile_id, tile)) is not tile:
            raise HistosynthError(f"two tiles have the id '{tile.tile_id}': {other.path} and {tile.path}; rename one")
    return tuple(sorted(tiles, key=lambda tile: (tile.label, tile.tile_id)))


def _tile_id(below: Path) -> str:
    tile_id = slide_id_of(below)
    for part in map(nfc, reversed(below.parent.parts)):
        tile_id = tile_id if tile_id.startswith(f"{part}_") else f"{part}_{tile_id}"
    return tile_id


def _barcode(stem: str) -> str | None:
    patient = patient_id_of(stem)
    return patient if patient != stem else None


def _entries(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)
