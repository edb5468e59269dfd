"""Tiles in a folder: images that somebody cut already, with a class, a patient and perhaps a split each.

Two layouts are known: a subfolder a class (the name of the folder is the label), or images anywhere in the folder and a
table of file and label, as CRC and PCam tiles come. A tile's id is its path below the folder, without suffix, joined by
`_`; a name that begins with that of its folder says it once (`TUM/TUM_7.png` is `TUM_7`). Where no table names the
patient, he is read off a barcode, else the tile is a patient of its own.
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
    """None: nothing names the patient, so the tile is one of its own."""
    split: str | None = None
    """As the table has it; None leaves it to the draw."""


@dataclass(frozen=True, kw_only=True)
class TileListing:
    """What lies in the folder. Names are paths below it."""

    tiles: tuple[Tile, ...]
    bad: Mapping[str, str] = field(default_factory=dict)
    """Reason by name."""
    unlabeled: tuple[str, ...] = ()
    """Files that the table does not label."""
    without_tile: tuple[str, ...] = ()
    """Rows of the table that name no file."""
    other_files: int = 0
    """Files that are no PNG, JPEG or TIFF; hidden ones do not count."""


def list_class_folders(folder: Path) -> TileListing:
    """The tiles of a folder with one subfolder a class.

    Raises:
        HistosynthError: no subfolder, two that differ by case only, or two tiles of one id.
    """
    entries = _entries(folder)
    classes = [entry for entry in entries if entry.is_dir()]
    if not classes:
        raise HistosynthError(
            f"the folder {folder} has no subfolder; make one a class, or name the class of each tile with --labels CSV"
        )
    _refuse_case([entry.name for entry in classes], where=f"the folder {folder}")
    bad: dict[str, str] = {}
    tiles: list[Tile] = []
    other = 0
    for entry in entries:
        inside = _entries(entry) if entry.is_dir() else [entry]
        images = [file for file in inside if file.is_file() and file.suffix.lower() in SUFFIXES]
        folders = [file for file in inside if file.is_dir()]
        other += len(inside) - len(images) - len(folders)
        if entry.is_file():
            bad |= {file.name: f"tile {file} lies beside the class folders; move it into one" for file in images}
            continue
        if not images:
            bad[entry.name] = f"class folder {entry} holds no PNG, JPEG or TIFF tile; fill it or delete it"
        for below in folders:
            bad[f"{entry.name}/{below.name}"] = f"class folder {entry} holds a folder, {below.name}; move its tiles up"
        for file in images:
            stem = slide_id_of(file)
            tile_id = _tile_id(file.relative_to(folder))
            tiles.append(Tile(path=file, tile_id=tile_id, label=entry.name, patient_id=_barcode(stem)))
    return TileListing(tiles=_distinct(tiles), bad=bad, other_files=other)


def list_labeled_tiles(folder: Path, table: Path) -> TileListing:
    """The tiles of a folder whose labels stand in a table: file and label, and perhaps patient (or group) and split.

    Files are named by path below the folder or, where that is enough, by name or by name without suffix.

    Raises:
        HistosynthError: an unreadable table or one without the columns; a name that leads out of the folder or to
            several files; a tile or patient that it puts in two places; two labels that differ by case only.
    """
    files = sorted(file for file in folder.rglob("*") if file.is_file() and not _hidden(file, folder))
    images = [file for file in files if file.suffix.lower() in SUFFIXES]
    rows = list(_rows(table))
    index: dict[str, set[Path]] = {row.file: set() for row in rows}
    for file in images:
        below = file.relative_to(folder)
        for name in (below.as_posix(), below.with_name(slide_id_of(below)).as_posix(), file.name, slide_id_of(file)):
            if name in index:
                index[name].add(file)
    found: dict[Path, _Row] = {}
    without: set[str] = set()
    for row in rows:
        exact = folder / row.file
        here = {exact} if exact in index[row.file] else index[row.file]
        if len(here) > 1:
            row.refuse(f"'{row.file}' is {len(here)} files below {folder}; name each by its path below that folder")
        for file in here:
            first = found.setdefault(file, row)
            if first.facts != row.facts:
                row.refuse(f"says of {row.file} other than line {first.line}; correct one of them")
        if not here:
            without.add(row.file)
    labeled = {file: row for file, row in found.items() if row.label is not None}
    _refuse_case(sorted({str(row.label) for row in labeled.values()}), where=f"the table {table}")
    _refuse_two_sides(labeled.values())
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
        without_tile=tuple(sorted(without)),
        other_files=sum(file.resolve() != table.resolve() for file in files) - len(images),
    )


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One row of the table; `line` counts from 1, the header and comments included, and `where` names it in errors."""

    where: str
    line: int
    file: str
    label: str | None
    patient: str | None
    split: str | None

    @property
    def facts(self) -> tuple[str | None, ...]:
        return self.label, self.patient, self.split

    def refuse(self, why: str) -> NoReturn:
        raise HistosynthError(f"{self.where}: {why}")


def _rows(path: Path) -> Iterator[_Row]:
    table = read_table(path, what="labels", example="file,label,patient_id")
    file = table.require_column((*FILE_COLUMNS, *SLIDE_COLUMNS, "id"), what="file")
    label = table.require_column(LABEL_COLUMNS, what="label")
    patient, split = table.find_column((*PATIENT_COLUMNS, *GROUP_COLUMNS)), table.find_column(SPLIT_COLUMNS)
    for line, cells in table.rows:
        where = f"{table.name}, line {line}"
        side = (cell_text(cells, split) or "").lower().replace("-", "_")
        if split is not None and side not in _SPLITS:
            raise HistosynthError(f"{where}: split '{side}' is unknown; write {TRAIN} or {HELD_OUT}")
        yield _Row(
            where=where,
            line=line,
            file=_below(cells[file] if file < len(cells) else "", where=where),
            label=cell_text(cells, label),
            patient=cell_text(cells, patient),
            split=_SPLITS[side] if side else None,
        )


def _below(name: str, *, where: str) -> str:
    """The name as a relative path with slashes; one that could lead out of the folder is refused."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive:
        raise HistosynthError(f"{where}: '{name}' leads out of the folder of tiles; name files by their path below it")
    if not path.parts:
        raise HistosynthError(f"{where}: names no file; add it or delete the line")
    return path.as_posix()


def _refuse_case(labels: Sequence[str], *, where: str) -> None:
    spelled: dict[str, str] = {}
    for label in labels:
        if (other := spelled.setdefault(label.casefold(), label)) != label:
            raise HistosynthError(
                f"{where} has the classes '{other}' and '{label}', which differ by case only; rename one"
            )


def _refuse_two_sides(rows: Iterable[_Row]) -> None:
    first: dict[str, _Row] = {}
    for row in rows:
        if row.patient and (other := first.setdefault(row.patient, row)).split != row.split:
            row.refuse(
                f"patient {row.patient} is in {row.split} here and in {other.split} in line {other.line}; "
                "a patient is on one side, so correct the split column or leave it out"
            )


def _distinct(tiles: Sequence[Tile]) -> tuple[Tile, ...]:
    """Sorted by label and id; no two may share an id."""
    first: dict[str, Tile] = {}
    for tile in tiles:
        if (other := first.setdefault(tile.tile_id, tile)) is not tile:
            raise HistosynthError(f"two tiles are called '{tile.tile_id}': {other.path} and {tile.path}; rename one")
    return tuple(sorted(tiles, key=lambda tile: (tile.label, tile.tile_id)))


def _tile_id(below: Path) -> str:
    tile_id = slide_id_of(below)
    for part in reversed(below.parent.parts):
        tile_id = tile_id if tile_id.startswith(f"{part}_") else f"{part}_{tile_id}"
    return tile_id


def _barcode(stem: str) -> str | None:
    patient = patient_id_of(stem)
    return patient if patient != stem else None


def _entries(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)
