"""Export of a store for other programs: PNG folders, the .npz of the ADM evaluator, or a WebDataset.

An export is complete or absent. Labels are numbered in the order of their names over the whole store, whichever part is
exported; a missing label is -1. Rows are streamed, so memory does not grow with the store, and the same store gives the
same bytes. Synthetic patches are marked in each PNG (`store.png`), in each JSON, and in `export.json`.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict
from tqdm import tqdm

from histosynth.convert.export_formats import WRITERS, Row, Selection
from histosynth.errors import HistosynthError, did_you_mean
from histosynth.json_files import read_facts
from histosynth.rundir import exclusive_replacement, require_directory, write_json
from histosynth.store.manifest import read_store_manifest
from histosynth.store.part import SCHEMA, stream_rows
from histosynth.store.png import SYNTHETIC
from histosynth.store.source import made_by_model

RECORD = "export.json"
EXPORT = "export of patches"


class ExportRecord(BaseModel):
    """The content of `export.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["export of patches"] = "export of patches"
    format: str
    split: str | None
    only_labels: list[str]
    patches: int
    synthetic: int
    description: str
    sources: list[str]
    labels: dict[str, int]
    by_label: dict[str, int]
    store_sha256: str


def read_export(directory: Path) -> ExportRecord:
    """Read and check `export.json`.

    Raises:
        HistosynthError: the directory is not an export, or its record is damaged.
    """
    record, _ = read_facts(directory / RECORD, ExportRecord, kind=EXPORT, verb="export")
    return record


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """The outcome of `export`."""

    directory: Path
    format: str
    patches: int
    synthetic: int
    """Number of `patches` that a model made."""
    labels: Mapping[str, int]
    """Number of each label, in the order of their names."""
    written: bool
    """False if the same export existed already."""


def export(
    store: Path,
    *,
    out: Path,
    format: str,
    split: str | None = None,
    labels: Sequence[str] = (),
    progress: bool = True,
) -> ExportResult:
    """Write a store, or a selection of it, in another format.

    Args:
        store: a patch store or sample store.
        out: directory of the export; absent, empty, or the same export.
        format: `png`, `npz` or `webdataset`.
        split: export only `train` or `held_out`.
        labels: export only these labels; empty: all, including patches without a label.
        progress: show a progress bar on stderr.

    Raises:
        HistosynthError: not a store, a damaged store, nothing to export, or other files in `out`.
    """
    # Rows to export, and the labels of the whole store
    manifest = read_store_manifest(store)
    parts = sorted(store.glob("part-*.parquet"))
    all_labels: set[str] = set()
    kinds: Counter[tuple[str | None, str | None, str]] = Counter()  # label, split, source

    def selected(row: Row) -> bool:
        return (split is None or row["split"] == split) and (not labels or row["label"] in labels)

    for row in stream_rows(parts, columns=["label", "split", "source"]):
        all_labels |= {row["label"]} - {None}
        if selected(row):
            kinds[row["label"], row["split"], row["source"]] += 1
    if unknown := sorted(set(labels) - all_labels):
        raise HistosynthError(
            f"the store {store} has no label '{unknown[0]}'{did_you_mean(unknown[0], all_labels)}; "
            f"it has {', '.join(sorted(all_labels)) or 'none'}"
        )
    if not kinds:
        of = f" of split '{split}'" if split else ""
        raise HistosynthError(f"the store {store} has no patch{of}{' of these labels' if labels else ''} to export")

    # What the export holds, as export.json states it
    selection = Selection(
        kinds=kinds,
        numbers={label: number for number, label in enumerate(sorted(all_labels))},
        generators=frozenset(source for _, _, source in kinds if made_by_model(manifest, source)),
    )
    by_label: Counter[str] = Counter()
    for (label, _, _), number in kinds.items():
        by_label[label or "null"] += number
    record = ExportRecord(
        format=format,
        split=split,
        only_labels=sorted(labels),
        patches=selection.patches,
        synthetic=selection.synthetic,
        description=SYNTHETIC if selection.synthetic else "real patches",
        sources=sorted({source for _, _, source in kinds}),
        labels=dict(selection.numbers),
        by_label=dict(sorted(by_label.items())),
        store_sha256=_digest(parts),
    )

    # Files
    with exclusive_replacement(out.absolute()):
        written = not _is_complete(out, record)
        if written:
            images = (row for row in stream_rows(parts, columns=SCHEMA.names) if selected(row))
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


def _is_complete(out: Path, record: ExportRecord) -> bool:
    """Return True if `out` is the same export, False if it is absent or empty; raise if it is anything else."""
    require_directory(out)
    if not out.exists() or not any(out.iterdir()):
        return False
    try:
        existing = read_export(out)
    except HistosynthError:
        existing = None
    if existing != record:
        what = "an export of other patches or in another format" if existing else f"files without {RECORD}"
        raise HistosynthError(f"--out {out} is not empty: it holds {what}; choose another directory")
    return True


def _write(out: Path, write: Callable[[Path], None], record: ExportRecord) -> None:
    """Write into a hidden directory beside `out`, and rename it once it is complete."""
    out = out.absolute()
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # left by a killed process
    temporary.mkdir(parents=True)
    try:
        write(temporary)
        write_json(temporary / RECORD, record.model_dump())
        if out.exists():
            out.rmdir()
        temporary.rename(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
