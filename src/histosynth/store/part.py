"""A part of a patch store: the patches of one slide (or block of seeds) in a Parquet file, one row per patch.

The image column has the layout that `datasets.load_dataset("parquet", …)` displays as an image. The metadata of the
file hold a fingerprint of what its rows were made from, a record for the manifest, and a hash of its images.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from histosynth.errors import HistosynthError
from histosynth.json_files import parse_json, require_json
from histosynth.rundir import atomic_write
from histosynth.store.part_files import require_columns
from histosynth.store.png import decode_png, encode_png, read_texts
from histosynth.store.rolling_hash import hash_sequence
from histosynth.store.threads import map_in_threads

BATCH_ROWS = 256
"""Rows per batch where a store is streamed."""
_GROUP_BYTES = 1 << 19  # of images per row group, the least that is read for one patch; 17 patches of 128 px
SCHEMA = pa.schema(
    [
        pa.field("patch_id", pa.string(), nullable=False),
        pa.field("slide_id", pa.string()),
        pa.field("patient_id", pa.string()),
        pa.field("label", pa.string()),
        pa.field("x", pa.int32()),
        pa.field("y", pa.int32()),
        pa.field("extent", pa.int32()),
        pa.field("mpp", pa.float32()),
        pa.field("tissue", pa.float32()),
        pa.field("split", pa.string()),
        pa.field("stain", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        # nullable, although never null: `datasets` accepts no other image column
        pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
    ]
)
_TEXTS = [field.name for field in SCHEMA if field.type == pa.string()]
_ZSTD = ["image.path", *(name for name in SCHEMA.names if name != "image")]
_FEATURES = {
    field.name: {"_type": "Image"} if field.name == "image" else {"dtype": str(field.type), "_type": "Value"}
    for field in SCHEMA
}
IMAGES_HASH = "histosynth.images"
"""Metadata key of the hash of a part's images (`rolling_hash`)."""
_HUGGINGFACE = json.dumps({"info": {"features": _FEATURES}})  # for `datasets`, to show the bytes as an image


@dataclass(frozen=True, kw_only=True)
class Patch:
    """One row. `x`, `y`, `extent` are level-0 pixels; synthetic patches have no slide, patient or position."""

    patch_id: str
    image: NDArray[np.uint8]  # (H, W, 3), H = W
    source: str  # `source.REAL`, or the generator
    label: str | None = None
    slide_id: str | None = None
    patient_id: str | None = None
    x: int | None = None
    y: int | None = None
    extent: int | None = None
    mpp: float | None = None
    tissue: float | None = None
    split: str | None = None
    stain: str | None = None  # "raw", "normalized[:<fallback>]", "skipped:<reason>"; None where synthetic
    texts: Mapping[str, str] | None = None  # inside the PNG: see `png.synthetic_mark`


def part_path(directory: Path, name: str) -> Path:
    """Return the path of the part of this slide (or block of seeds)."""
    return directory / f"part-{name}.parquet"


def write_part(
    path: Path, patches: Iterable[Patch], *, fingerprint: str, record: Mapping[str, Any] | None = None
) -> None:
    """Write the patches of one slide, completely or not at all.

    Args:
        path: `part_path(...)`.
        patches: the rows; may be empty.
        fingerprint: identifies what they were made from; a resumed command keeps a part whose fingerprint is equal.
        record: facts about this part for the manifest; stored with the rows, so that a resumed command has them too.
    """
    write_rows(path, list(map_in_threads(encode_row, patches)), fingerprint=fingerprint, record=record)


def write_rows(
    path: Path, rows: Sequence[Mapping[str, Any]], *, fingerprint: str, record: Mapping[str, Any] | None = None
) -> None:
    """Write the rows of `encode_row`; otherwise like `write_part`."""
    # The metadata of the file
    record_json = json.dumps(record or {}, ensure_ascii=False, allow_nan=False)
    images_hash = hash_sequence(image_sha256(row["image"]["bytes"]) for row in rows)
    schema = SCHEMA.with_metadata(
        {
            "histosynth.fingerprint": fingerprint,
            "histosynth.record": record_json,
            "huggingface": _HUGGINGFACE,
            IMAGES_HASH: f"{images_hash:x}",
        }
    )

    # Row groups of about _GROUP_BYTES of images
    size = sum(len(row["image"]["bytes"]) for row in rows)
    with atomic_write(path) as file:
        pq.write_table(
            pa.Table.from_pylist(list(rows), schema=schema),
            file,
            compression=dict.fromkeys(_ZSTD, "zstd") | {"image.bytes": "none"},  # PNG does not compress further
            use_dictionary=_TEXTS,
            write_statistics=_TEXTS,
            row_group_size=max(_GROUP_BYTES * len(rows) // max(size, 1), 1),
            write_page_checksum=True,
        )


def image_sha256(data: bytes) -> bytes:
    """Return the digest by which an encoded image enters `rolling_hash`."""
    return hashlib.sha256(data).digest()


def encode_row(patch: Patch) -> dict[str, Any]:
    """Return the row of a patch, with its image as a PNG."""
    row: dict[str, Any] = {field.name: getattr(patch, field.name) for field in SCHEMA}
    return row | {"image": {"bytes": encode_png(patch.image, patch.texts), "path": f"{patch.patch_id}.png"}}


def read_part(path: Path) -> list[Patch]:
    """Return the patches of a part.

    Raises:
        HistosynthError: the part is damaged.
    """
    try:
        rows = pq.read_table(path, schema=SCHEMA, page_checksum_verification=True).to_pylist()
        return [patch_of(row) for row in rows]
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise HistosynthError(f"{path} cannot be read ({error}); delete it and rerun the command") from error


def image_of(row: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Decode the image of a row of `stream_rows`, (H, W, 3).

    Raises:
        HistosynthError: it is damaged.
    """
    try:
        return decode_png(row["image"]["bytes"])
    except (TypeError, ValueError) as error:
        raise HistosynthError(
            f"the image of patch {row['patch_id']} is damaged ({error}); make the store again"
        ) from error


def patch_of(row: Mapping[str, Any]) -> Patch:
    """Return the patch of a row."""
    png = row["image"]["bytes"]
    return Patch(**{**row, "image": decode_png(png), "texts": read_texts(png) or None})


def stream_rows(parts: Sequence[Path], *, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of these parts in the order of `Store`, read in batches; images are not decoded.

    Raises:
        HistosynthError: a part is damaged, or has another schema.
    """
    for part in parts:
        try:
            with pq.ParquetFile(part, page_checksum_verification=True) as file:
                require_columns(file.schema_arrow, SCHEMA)
                present = [name for name in columns if name in file.schema_arrow.names]
                for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=present):
                    for row in batch.to_pylist():
                        yield dict.fromkeys(columns) | row
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            raise HistosynthError(f"{part} cannot be read ({error}); delete it and rerun the command") from error


def part_fingerprint(path: Path) -> str | None:
    """Return the fingerprint that a part was written with; None where no readable part exists."""
    fingerprint = _metadata(path).get(b"histosynth.fingerprint")
    return fingerprint.decode(errors="replace") if fingerprint is not None else None


def part_record(path: Path) -> dict[str, Any]:
    """Return the record that a part was written with; empty where no readable part exists.

    Raises:
        HistosynthError: the part has a record that is damaged.
    """
    where, fix = f"the record of {path}", "delete the part and rerun the command"
    record = parse_json(_metadata(path).get(b"histosynth.record", b"{}"), where=where, fix=fix)
    require_json(record, where=where, fix=fix)  # manifests quote it
    return dict(record) if isinstance(record, dict) else {}


def read_ids(path: Path) -> list[str]:
    """Return the ids of the patches of a part.

    Raises:
        HistosynthError: the part is damaged.
    """
    try:
        ids: list[str] = pq.read_table(path, columns=["patch_id"]).column("patch_id").to_pylist()
        return ids
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise HistosynthError(f"{path} cannot be read ({error}); delete it and rerun the command") from error


def read_corners(path: Path) -> NDArray[np.int64]:
    """Corners (N, 2), x and y in level-0 pixels, of the patches of a whole part."""
    table = pq.read_table(path, columns=["x", "y"])
    return np.stack([table.column(name).to_numpy() for name in ("x", "y")], axis=1).astype(np.int64)


def _metadata(path: Path) -> dict[bytes, bytes]:
    try:
        return pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException):
        return {}
