"""Formats of an export. Each writer streams rows into an existing directory.

- `png`: `<label>/<label>_<patch_id>.png` and `labels.csv`. In the file name, the label contains no `_`, because
  guided-diffusion's `image_datasets.py` takes everything before the first `_` as the class. Encoded images are copied.
- `npz`: `images.npz` with `arr_0`, uint8 (N, H, W, 3), and `arr_1`, int64 (N,), as guided-diffusion's
  `evaluations/evaluator.py` reads it and its samplers write it.
- `webdataset`: `shard-000000.tar` … of `<key>.png`, `<key>.cls` and `<key>.json`. Keys are numbers, because a key ends
  at its first dot, and an id may contain one.
"""

import hashlib
import io
import json
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import numpy as np

from histosynth.errors import HistosynthError
from histosynth.store.part import image_of
from histosynth.store.png import SYNTHETIC, encode_png, is_synthetic, read_texts, synthetic_mark, with_texts
from histosynth.text import csv_line

NO_LABEL = "unlabeled"
_SHARD_PATCHES = 1000
_NAME_BYTES = 100  # of a label or id in a file name; file systems allow 255 in total

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The rows to write, known before the first of them is read."""

    kinds: Counter[tuple[str | None, str | None, str]]
    """Number of rows by label, split and source."""
    numbers: Mapping[str, int]
    """Number of each label of the store."""
    generators: frozenset[str]
    """The sources whose patches a model made."""

    @property
    def patches(self) -> int:
        """Number of rows."""
        return self.kinds.total()

    @property
    def synthetic(self) -> int:
        """Number of rows that a model made."""
        return sum(number for (_, _, source), number in self.kinds.items() if source in self.generators)


def write_png(directory: Path, rows: Iterable[Row], selection: Selection) -> None:
    """Write `<label>/<label>_<patch_id>.png`, and `labels.csv`, from which `pack --labels` restores the patches."""
    unlabeled = [NO_LABEL] if any(label is None for label, _, _ in selection.kinds) else []
    folders = _names([*selection.numbers, *unlabeled])
    prefixes = _names([*folders], instead=("_", "-"))
    columns = ["file", "label", "patient_id"]
    if all(split for _, split, _ in selection.kinds):
        columns.append("split")
    with (directory / "labels.csv").open("w", encoding="utf-8", newline="") as table:
        table.write(csv_line(columns))
        for row in rows:
            label = NO_LABEL if row["label"] is None else row["label"]
            name = f"{folders[label]}/{prefixes[label]}_{_file_name(row['patch_id'])}.png"
            path = directory / name
            path.parent.mkdir(exist_ok=True)
            try:
                with path.open("xb") as file:
                    file.write(_marked_png(row, selection))
            except FileExistsError:
                raise HistosynthError(f"two patches have the id '{row['patch_id']}'; make the store again") from None
            table.write(csv_line({**row, "file": name}[column] for column in columns))


def write_npz(directory: Path, rows: Iterable[Row], selection: Selection) -> None:
    """Write `images.npz` row by row: `arr_0` uint8 (N, H, W, 3) and `arr_1` int64 (N,)."""
    numbers: list[int] = []
    shape: tuple[int, ...] | None = None
    with zipfile.ZipFile(directory / "images.npz", "w") as archive:
        # The default date of ZipInfo, 1980, gives the same bytes for the same store.
        with archive.open(zipfile.ZipInfo("arr_0.npy"), "w", force_zip64=True) as file:
            for row in rows:
                image = image_of(row)
                if shape is None:
                    shape = image.shape
                    header = {"descr": "|u1", "fortran_order": False, "shape": (selection.patches, *shape)}
                    np.lib.format.write_array_header_1_0(file, header)
                if image.shape != shape:
                    raise HistosynthError(
                        f"the store mixes patch sizes {shape[:2]} and {image.shape[:2]}, which do not fit one array; "
                        "export as png or webdataset"
                    )
                file.write(image.tobytes())
                numbers.append(selection.numbers.get(row["label"], -1))
        with archive.open(zipfile.ZipInfo("arr_1.npy"), "w", force_zip64=True) as file:
            np.lib.format.write_array(file, np.array(numbers, dtype=np.int64))


def write_webdataset(directory: Path, rows: Iterable[Row], selection: Selection) -> None:
    """Write `shard-000000.tar` …, with a thousand patches each."""
    numbered = enumerate(rows)
    for shard in count():
        first = next(numbered, None)
        if first is None:
            return
        with tarfile.open(directory / f"shard-{shard:06d}.tar", "w", format=tarfile.PAX_FORMAT) as tar:
            for number, row in chain([first], islice(numbered, _SHARD_PATCHES - 1)):
                facts = {name: value for name, value in row.items() if name != "image"}
                synthetic = row["source"] in selection.generators
                facts |= {"synthetic": synthetic} | ({"description": SYNTHETIC} if synthetic else {})
                for suffix, data in (
                    ("png", _marked_png(row, selection)),
                    ("cls", str(selection.numbers.get(row["label"], -1)).encode()),
                    ("json", json.dumps(facts, ensure_ascii=False).encode()),
                ):
                    member = tarfile.TarInfo(f"{number:09d}.{suffix}")  # no owner, time 0: reproducible bytes
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))


WRITERS: Mapping[str, Callable[[Path, Iterable[Row], Selection], None]] = {
    "png": write_png,
    "npz": write_npz,
    "webdataset": write_webdataset,
}


def _marked_png(row: Row, selection: Selection) -> bytes:
    """Return the PNG of a row, with the mark of `store.png` if the patch is synthetic."""
    image_of(row)
    data: bytes = row["image"]["bytes"]
    texts = read_texts(data)
    if row["source"] not in selection.generators or is_synthetic(texts):
        return data
    mark = synthetic_mark(row["source"])
    return encode_png(image_of(row), texts | mark) if "Description" in texts else with_texts(data, mark)


def _names(labels: Iterable[str], *, instead: tuple[str, str] | None = None) -> dict[str, str]:
    """Return a file name for each label, distinct even on file systems that ignore letter case."""
    names: dict[str, str] = {}
    for label in labels:
        name = _file_name(label.replace(*instead) if instead else label)
        taken = {other.casefold() for other in names.values()}
        names[label] = next(n for n in chain([name], (f"{name}-{k}" for k in count(2))) if n.casefold() not in taken)
    return names


def _file_name(text: str) -> str:
    """Return the text as a valid name on all file systems, with other characters as `%XX` of their UTF-8 bytes."""

    def escaped(part: str) -> str:
        return "".join(f"%{byte:02X}" for byte in part.encode())

    name = "".join(c if c.isprintable() and c not in '<>:"/\\|?*' else escaped(c) for c in text)
    if name[:1] in ("", ".", " ", "#"):
        name = escaped(name[:1]) + name[1:]
    if name[-1:] in (".", " "):
        name = name[:-1] + escaped(name[-1:])
    if len(name.encode()) > _NAME_BYTES:
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        name = f"{name.encode()[: _NAME_BYTES - 13].decode(errors='ignore')}-{digest}"
    return name or "%"
