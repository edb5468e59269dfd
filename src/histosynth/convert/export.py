"""A store for other programs: PNG folders, the .npz of the ADM evaluator, or a WebDataset. Always whole or not at all.

Labels are numbered in the order of their names over the whole store, whatever part is exported; no label is -1. Rows
are streamed, so memory does not grow with the store; the same store gives the same bytes. Synthetic patches say that
they are: in each PNG (`Description`, and `Source` for the run), in each JSON, and in `export.json`.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from histosynth.convert.export_formats import WRITERS, Row, Selection
from histosynth.errors import HistosynthError, did_you_mean
from histosynth.rundir import read_manifest, require_directory, write_json
from histosynth.store.part import SCHEMA, stream_rows
from histosynth.store.png import SYNTHETIC
from histosynth.store.store import KIND

RECORD = "export.json"
EXPORT = "export of patches"


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """What `export` did."""

    directory: Path
    format: str
    patches: int
    synthetic: int
    """Of `patches`, those made by a model."""
    labels: Mapping[str, int]
    """The number that stands for each label, in the order of their names."""
    written: bool
    """False: this very export was there already."""


def export(
    store: Path,
    *,
    out: Path,
    format: str,
    split: str | None = None,
    labels: Sequence[str] = (),
    progress: bool = True,
) -> ExportResult:
    """Write a store, or a part of it, in another format.

    Args:
        store: a patch store or sample store.
        out: directory of the export; absent, empty, or this very export.
        format: `png`, `npz` or `webdataset`.
        split: only `train` or `held_out`.
        labels: only these labels; none given: all, and the patches without one.
        progress: show a bar on stderr.

    Raises:
        HistosynthError: no store, a damaged one, nothing to export, or a directory that holds something else.
    """
    read_manifest(store, kind=KIND)
    parts = sorted(store.glob("part-*.parquet"))
    names: set[str] = set()
    kinds: Counter[tuple[str | None, str | None, str]] = Counter()

    def wanted(row: Row) -> bool:
        return (split is None or row["split"] == split) and (not labels or row["label"] in labels)

    for row in stream_rows(parts, columns=["label", "split", "source"]):
        names |= {row["label"]} - {None}
        if wanted(row):
            kinds[row["label"], row["split"], row["source"]] += 1
    if unknown := sorted(set(labels) - names):
        raise HistosynthError(
            f"the store {store} has no label '{unknown[0]}'{did_you_mean(unknown[0], names)}; "
            f"it has {', '.join(sorted(names)) or 'none'}"
        )
    if not kinds:
        of = f" of split '{split}'" if split else ""
        raise HistosynthError(f"the store {store} has no patch{of}{' of these labels' if labels else ''} to export")
    selection = Selection(kinds=kinds, numbers={label: number for number, label in enumerate(sorted(names))})
    by_label: Counter[str] = Counter()
    for (label, _, _), number in kinds.items():
        by_label[label or "null"] += number
    record = {
        "kind": EXPORT,
        "format": format,
        "split": split,
        "only_labels": sorted(labels),
        "patches": selection.patches,
        "synthetic": selection.synthetic,
        "description": SYNTHETIC if selection.synthetic else "real patches",
        "sources": sorted({source for _, _, source in kinds}),
        "labels": selection.numbers,
        "by_label": dict(sorted(by_label.items())),
        "store_sha256": _digest(parts),
    }
    written = not _is_there(out, record)
    if written:
        images = (row for row in stream_rows(parts, columns=SCHEMA.names) if wanted(row))
        with tqdm(images, total=selection.patches, desc="exporting", unit="patch", disable=not progress) as bar:
            _write(out, lambda directory: WRITERS[format](directory, bar, selection), record)
    return ExportResult(
        directory=out,
        format=format,
        patches=selection.patches,
        synthetic=selection.synthetic,
        labels=selection.numbers,
        written=written,
    )


def _digest(parts: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        with part.open("rb") as file:
            digest.update(f"{part.name}\0".encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _is_there(out: Path, record: Mapping[str, Any]) -> bool:
    """Whether `out` is this very export; raise where it is anything else than that, absent or empty."""
    require_directory(out)
    if not out.exists() or not any(out.iterdir()):
        return False
    try:
        found = json.loads((out / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        found = None
    if found != record:
        what = "an export of other patches or in another format" if found else f"no {RECORD}, and so something else"
        raise HistosynthError(f"--out {out} is not empty and holds {what}; name another directory")
    return True


def _write(out: Path, write: Callable[[Path], None], record: Mapping[str, Any]) -> None:
    """Write into a hidden directory beside `out`, and rename it once all is there."""
    out = out.absolute()
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # of a command that was killed
    temporary.mkdir(parents=True)
    try:
        write(temporary)
        write_json(temporary / RECORD, record)
        if out.exists():
            out.rmdir()
        temporary.rename(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
