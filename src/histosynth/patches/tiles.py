"""Tiles in a folder: images that somebody cut already, with a class, a patient and perhaps a split each.

Two layouts are known: a subfolder a class (the name of the folder is the label), or images anywhere in the folder and a
table of file and label, as CRC and PCam tiles come. A tile's id is its path below the folder, without suffix, joined by
`_`; a name that begins with that of its folder says it once (`TUM/TUM_7.png` is `TUM_7`). Where no table names the
patient, he is read off a barcode, else the tile is a patient of its own.
"""

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NoReturn

from histosynth.errors import HistosynthError
from histosynth.patches.labels import LABEL_COLUMNS, PATIENT_COLUMNS, SLIDE_COLUMNS, patient_of
from histosynth.patches.split import HELD_OUT, TRAIN
from histosynth.slides.reader import IMAGE_SUFFIXES, TIFF_SUFFIXES, slide_id_of

SUFFIXES = IMAGE_SUFFIXES | TIFF_SUFFIXES
FILE_COLUMNS = ("file", "file_name", "filename", "path", "filepath", "tile", "tile_id", "patch", "patch_id")
GROUP_COLUMNS = ("group", "group_id")
SPLIT_COLUMNS = ("split", "subset", "partition")
_SPLITS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("held_out", "heldout", "holdout", "test", "testing", "val", "valid", "validation"), HELD_OUT),
}
_NOTHING = {"", "na", "n/a", "nan", "none", "null"}


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
class Listing:
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


def list_classes(folder: Path) -> Listing:
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
    return Listing(tiles=_distinct(tiles), bad=bad, other_files=other)


def list_labeled(folder: Path, table: Path) -> Listing:
    """The tiles of a folder whose labels stand in a table: file and label, and perhaps patient (or group) and split.

    Files are named by path below the folder or, where that is enough, by name or by name without suffix.

    Raises:
        HistosynthError: an unreadable table or one without the columns; a name that leads out of the folder or to
            several files; a tile or patient that it puts in two places; two labels that differ by case only.
    """
    files = sorted(file for file in folder.rglob("*") if file.is_file() and not _hidden(file, folder))
    images = [file for file in files if file.suffix.lower() in SUFFIXES]
    index: dict[str, set[Path]] = defaultdict(set)
    for file in images:
        below = file.relative_to(folder)
        for name in (below.as_posix(), below.with_name(slide_id_of(below)).as_posix(), file.name, slide_id_of(file)):
            index[name].add(file)
    found: dict[Path, _Row] = {}
    without: set[str] = set()
    for row in _rows(table):
        exact = folder / row.file
        here = {exact} if exact in index.get(row.file, ()) else index.get(row.file, set())
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
    return Listing(
        tiles=_distinct(tiles),
        unlabeled=tuple(file.relative_to(folder).as_posix() for file in images if file not in labeled),
        without_tile=tuple(sorted(without)),
        other_files=sum(file.resolve() != table.resolve() for file in files) - len(images),
    )


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One row of the table; `line` counts from 1, the header and comments included."""

    table: Path
    line: int
    file: str
    label: str | None
    patient: str | None
    split: str | None

    @property
    def facts(self) -> tuple[str | None, ...]:
        return self.label, self.patient, self.split

    def refuse(self, why: str) -> NoReturn:
        raise HistosynthError(f"labels {self.table}, line {self.line}: {why}")


def _rows(table: Path) -> Iterator[_Row]:
    try:
        lines = list(enumerate(table.read_text("utf-8-sig").splitlines(), 1))
    except UnicodeDecodeError as error:
        raise HistosynthError(f"labels {table} is not UTF-8 text (byte {error.start}); save it as CSV UTF-8") from error
    except OSError as error:
        raise HistosynthError(
            f"labels {table} cannot be read: {error.strerror}; give the path of a CSV file"
        ) from error
    kept = [(number, line) for number, line in lines if line.strip() and not line.startswith("#")]
    if not kept:
        raise HistosynthError(f"labels {table} is empty; it needs a header such as file,label,patient_id")
    delimiter = max(",\t;", key=kept[0][1].count)
    try:
        cells = [(n, next(csv.reader([line], delimiter=delimiter, strict=True))) for n, line in kept]
    except csv.Error as error:
        raise HistosynthError(f"labels {table} is no CSV table: {error}") from error
    header = [name.strip().lower().replace(" ", "_").replace("-", "_").replace(".", "_") for name in cells[0][1]]

    def column(*names: str) -> int | None:
        return next((header.index(name) for name in names if name in header), None)

    file, label = column(*FILE_COLUMNS, *SLIDE_COLUMNS, "id"), column(*LABEL_COLUMNS)
    patient, split = column(*PATIENT_COLUMNS, *GROUP_COLUMNS), column(*SPLIT_COLUMNS)
    for found, names in ((file, FILE_COLUMNS), (label, LABEL_COLUMNS)):
        if found is None:
            raise HistosynthError(
                f"labels {table}: no {names[0]} column among {', '.join(header)}; name it one of {', '.join(names)}"
            )
    for number, row in cells[1:]:
        text = [value.strip() for value in row] + [""] * len(header)

        def cell(at: int | None, text: Sequence[str] = text) -> str | None:
            return None if at is None or text[at].lower() in _NOTHING else text[at]

        where = f"labels {table}, line {number}"
        side = cell(split)
        if split is not None and (side is None or side.lower().replace("-", "_") not in _SPLITS):
            raise HistosynthError(f"{where}: split '{side or ''}' is unknown; write {TRAIN} or {HELD_OUT}")
        yield _Row(
            table=table,
            line=number,
            file=_below(text[file or 0], where=where),
            label=cell(label),
            patient=cell(patient),
            split=_SPLITS[side.lower().replace("-", "_")] if side else None,
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
    patient = patient_of(stem)
    return patient if patient != stem else None


def _entries(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)
