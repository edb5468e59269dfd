"""A part of a patch store: the patches of one slide (or block of seeds) as a Parquet file, one row a patch.

The image column is the layout that `datasets.load_dataset("parquet", …)` shows as an image. Notes in the metadata of
the file say what its rows were made from, what the manifest is to say of them, and what its images hash to.
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
from histosynth.rundir import atomic_write
from histosynth.store.png import decode_png, encode_png, read_texts
from histosynth.store.rolling_hash import hash_sequence
from histosynth.store.threads import map_in_threads

BATCH_ROWS = 256  # rows at a time for whoever streams a store
_GROUP_BYTES = 1 << 19  # of images in a row group, which must be read for one patch; 17 patches of 128 px
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
        # nullable, though it never is: `datasets` takes no other for an image
        pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
    ]
)
_TEXTS = [field.name for field in SCHEMA if field.type == pa.string()]
_ZSTD = ["image.path", *(name for name in SCHEMA.names if name != "image")]
_FEATURES = {
    field.name: {"_type": "Image"} if field.name == "image" else {"dtype": str(field.type), "_type": "Value"}
    for field in SCHEMA
}
IMAGES_HASH = "histosynth.images"  # a part's `image_chain`, as its writer noted it
_HUGGINGFACE = json.dumps({"info": {"features": _FEATURES}})  # what `datasets` needs to show the bytes as an image


@dataclass(frozen=True, kw_only=True)
class Patch:
    """One row. `x`, `y`, `extent` are level-0 pixels; synthetic patches have no slide, patient or place."""

    patch_id: str
    image: NDArray[np.uint8]  # (H, W, 3), H = W
    source: str  # "real", or the run that made it
    label: str | None = None
    slide_id: str | None = None
    patient_id: str | None = None
    x: int | None = None
    y: int | None = None
    extent: int | None = None
    mpp: float | None = None
    tissue: float | None = None
    split: str | None = None
    stain: str | None = None  # "raw", "normalized", or "skipped:<reason>"; None where synthetic
    texts: Mapping[str, str] | None = None  # inside the PNG: see `png.synthetic_mark`


def part_path(directory: Path, name: str) -> Path:
    """Where the part of that slide (or block of seeds) lies."""
    return directory / f"part-{name}.parquet"


def write_part(
    path: Path, patches: Iterable[Patch], *, fingerprint: str, record: Mapping[str, Any] | None = None
) -> None:
    """Write the patches of one slide, whole or not at all.

    Args:
        path: `part_path(...)`.
        patches: the rows; none is allowed.
        fingerprint: identifies what they were made from; a resumed command keeps the part where it is the same.
        record: what the manifest will say of this part; kept beside the rows, so that a resumed command says the same.
    """
    rows = list(map_in_threads(_row, patches))
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
    size = sum(len(row["image"]["bytes"]) for row in rows)
    with atomic_write(path) as file:
        pq.write_table(
            pa.Table.from_pylist(rows, schema=schema),
            file,
            compression=dict.fromkeys(_ZSTD, "zstd") | {"image.bytes": "none"},  # PNG does not compress further
            use_dictionary=_TEXTS,
            write_statistics=_TEXTS,
            row_group_size=max(_GROUP_BYTES * len(rows) // max(size, 1), 1),
            write_page_checksum=True,
        )


def image_sha256(data: bytes) -> bytes:
    """What an image counts by in `image_chain`."""
    return hashlib.sha256(data).digest()


def _row(patch: Patch) -> dict[str, Any]:
    row: dict[str, Any] = {field.name: getattr(patch, field.name) for field in SCHEMA}
    return row | {"image": {"bytes": encode_png(patch.image, patch.texts), "path": f"{patch.patch_id}.png"}}


def read_part(path: Path) -> list[Patch]:
    """The patches of a whole part.

    Raises:
        HistosynthError: it is damaged.
    """
    try:
        rows = pq.read_table(path, schema=SCHEMA, page_checksum_verification=True).to_pylist()
        return [patch_of(row) for row in rows]
    except (OSError, pa.ArrowException, KeyError, SyntaxError, ValueError) as error:
        raise HistosynthError(f"{path} cannot be read ({error}); delete it and run the same command again") from error


def patch_of(row: Mapping[str, Any]) -> Patch:
    """Return the patch that a row of a part holds."""
    png = row["image"]["bytes"]
    return Patch(**{**row, "image": decode_png(png), "texts": read_texts(png) or None})


def stream_rows(parts: Sequence[Path], *, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of these parts in the order of `Store`, a few at a time; images as they are stored.

    Raises:
        HistosynthError: a part is damaged.
    """
    for part in parts:
        try:
            with pq.ParquetFile(part, page_checksum_verification=True) as file:
                for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=list(columns)):
                    yield from batch.to_pylist()
        except (OSError, pa.ArrowException, KeyError) as error:
            raise HistosynthError(
                f"{part} cannot be read ({error}); delete it and run the same command again"
            ) from error


def part_fingerprint(path: Path) -> str | None:
    """The fingerprint that a whole part was written with; None where there is no readable part."""
    found = _metadata(path).get(b"histosynth.fingerprint")
    return found.decode() if found is not None else None


def part_record(path: Path) -> dict[str, Any]:
    """The record that a whole part was written with; empty where there is none."""
    record: dict[str, Any] = json.loads(_metadata(path).get(b"histosynth.record", b"{}"))
    return record


def read_ids(path: Path) -> list[str]:
    """Ids of the patches of a whole part.

    Raises:
        HistosynthError: it is damaged.
    """
    try:
        ids: list[str] = pq.read_table(path, columns=["patch_id"]).column("patch_id").to_pylist()
        return ids
    except (OSError, pa.ArrowException, KeyError) as error:
        raise HistosynthError(f"{path} cannot be read ({error}); delete it and run the same command again") from error


def read_corners(path: Path) -> NDArray[np.int64]:
    """Corners (N, 2), x and y in level-0 pixels, of the patches of a whole part."""
    table = pq.read_table(path, columns=["x", "y"])
    return np.stack([table.column(name).to_numpy() for name in ("x", "y")], axis=1).astype(np.int64)


def _metadata(path: Path) -> dict[bytes, bytes]:
    try:
        return pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException):
        return {}
