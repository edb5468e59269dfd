"""The patch store: one Parquet file a slide, one row a patch. Real and synthetic patches share the schema.

`DIR/manifest.json` says what the store is and how it came to be; `DIR/part-<name>.parquet` holds the patches. The image
column is the layout that `datasets.load_dataset("parquet", …)` shows as an image.

A store is written here and read wherever it lies: a directory, or `https://…` and `s3://…` through fsspec.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from histosynth.errors import HistosynthError
from histosynth.patches.image_chain import chain, join
from histosynth.patches.part_files import PartFiles
from histosynth.patches.png_text import text_of, with_text
from histosynth.patches.threads import in_threads
from histosynth.rundir import MANIFEST, atomic_write, read_manifest, require_directory, write_json
from histosynth.slides.remote import open_binary, url_of

KIND = "patch store"
_BATCH = 256  # rows at a time for whoever streams a store
_GROUP_BYTES = 1 << 19  # of images in a row group, which must be read for one patch; 17 patches of 128 px
_PAETH, _RLE = 0x80, 3  # libpng's PNG_FILTER_PAETH, zlib's Z_RLE
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
_IMAGES = "histosynth.images"  # a part's `image_chain`, as its writer noted it
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
    text: Mapping[str, str] | None = None  # said inside the PNG, where synthetic: see `png_text`


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Lossless PNG of an (H, W, 3) image, without metadata.

    Paeth filter, runs and Huffman codes, no search for repeats: tissue has none. Three to five times as fast as
    Pillow's default; of equal size on scans with noise, 15 % larger on the smoothest real patches of 128 px.
    """
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(image), level=1, filter=_PAETH, strategy=_RLE))


def decode_png(data: bytes) -> NDArray[np.uint8]:
    """The (H, W, 3) image of `encode_png`, or of any other PNG as RGB; Pillow takes twice as long, and says why not."""
    with suppress(Exception):  # of a class that differs with the version of imagecodecs
        image: NDArray[np.uint8] = imagecodecs.png_decode(data)
        if image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8:
            return image
    with Image.open(BytesIO(data)) as opened:
        return np.asarray(opened.convert("RGB"))


def part_path(directory: Path, name: str) -> Path:
    """Where the part of that slide (or block of seeds) lies."""
    return directory / f"part-{name}.parquet"


def parts_of(directory: Path) -> list[Path]:
    """The parts of a store, finished or not; none where there is nothing yet.

    Raises:
        HistosynthError: the directory holds something else.
    """
    require_directory(directory)
    if not directory.exists():
        return []
    parts = sorted(directory.glob("part-*.parquet"))
    if (directory / MANIFEST).exists():
        read_manifest(directory, kind=KIND)
    elif not parts and (found := sorted(e.name for e in directory.iterdir() if not e.name.startswith("."))):
        raise HistosynthError(
            f"--out {directory} is no patch store and not empty (it holds {found[0]}); name another directory"
        )
    return parts


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
    rows = list(in_threads(_row, patches))
    record_json = json.dumps(record or {}, ensure_ascii=False, allow_nan=False)
    notes = {"histosynth.fingerprint": fingerprint, "histosynth.record": record_json, "huggingface": _HUGGINGFACE}
    schema = SCHEMA.with_metadata({**notes, _IMAGES: f"{chain(_sha256(row['image']['bytes']) for row in rows):x}"})
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


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _row(patch: Patch) -> dict[str, Any]:
    row: dict[str, Any] = {field.name: getattr(patch, field.name) for field in SCHEMA}
    png = encode_png(patch.image)
    return row | {"image": {"bytes": with_text(png, patch.text or {}), "path": f"{patch.patch_id}.png"}}


def read_part(path: Path) -> list[Patch]:
    """The patches of a whole part.

    Raises:
        HistosynthError: it is damaged.
    """
    try:
        rows = pq.read_table(path, schema=SCHEMA, page_checksum_verification=True).to_pylist()
        return [_patch(row) for row in rows]
    except (OSError, pa.ArrowException, KeyError, SyntaxError, ValueError) as error:
        raise HistosynthError(f"{path} cannot be read ({error}); delete it and run the same command again") from error


def _patch(row: dict[str, Any]) -> Patch:
    png = row.pop("image")["bytes"]
    return Patch(**row, image=decode_png(png), text=text_of(png) or None)


def stream_rows(parts: Sequence[Path], *, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of these parts in the order of `Store`, a few at a time; images as they are stored.

    Raises:
        HistosynthError: a part is damaged.
    """
    for part in parts:
        try:
            with pq.ParquetFile(part, page_checksum_verification=True) as file:
                for batch in file.iter_batches(batch_size=_BATCH, columns=list(columns)):
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


def read_places(path: Path) -> NDArray[np.int64]:
    """Corners (N, 2), x and y in level-0 pixels, of the patches of a whole part."""
    table = pq.read_table(path, columns=["x", "y"])
    return np.stack([table.column(name).to_numpy() for name in ("x", "y")], axis=1).astype(np.int64)


def _metadata(path: Path) -> dict[bytes, bytes]:
    try:
        return pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException):
        return {}


def write_manifest(directory: Path, content: Mapping[str, Any]) -> None:
    """Write the store's manifest: it marks the store as complete, so it comes last. It names the files."""
    files = {part.name: part.stat().st_size for part in parts_of(directory)}
    write_json(directory / MANIFEST, {"kind": KIND, **content, "files": files})


class Store:
    """A patch store opened for reading, here or behind an address. What is asked for is read; nothing stays in memory.

    Args:
        path: the directory, or its URL. Behind a URL nothing can be listed, so the manifest says which parts there are.

    Raises:
        HistosynthError: no store there, a damaged or missing part, or no patch in it.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if url_of(self.path) is None:
            self.manifest = read_manifest(self.path, kind=KIND)
            parts = sorted(self.path.glob("part-*.parquet"))
            if missing := sorted(set(self.manifest.get("files", {})) - {part.name for part in parts}):
                raise HistosynthError(
                    f"the store {self.path} lacks {missing[0]} ({len(missing)} of its parts are missing); run the "
                    "command that made it again"
                )
        else:
            with open_binary(self.path / MANIFEST, what="store", blocks=False) as file:
                self.manifest = read_manifest(self.path, kind=KIND, content=file.read().decode())
            if "files" not in self.manifest:
                raise HistosynthError(f"{url_of(self.path / MANIFEST)} names no files; make the store anew")
            parts = [self.path / name for name in self.manifest["files"]]
        self.parts = PartFiles(parts, schema=SCHEMA)
        if not len(self):
            raise HistosynthError(f"the store {self.path} holds no patch; its {MANIFEST} says why for each slide")

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def table(self) -> pa.Table:
        """All of it, images as they are stored, in memory."""
        columns = [[piece for chunk in self.parts.chunks(name) for piece in chunk.chunks] for name in SCHEMA.names]
        return pa.table([pa.chunked_array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)

    def column(self, name: str) -> list[Any]:
        """One column as a list, None for null. Read anew by each call; equal texts are one object."""
        if SCHEMA.field(name).type != pa.string():
            return [value for chunk in self.parts.chunks(name) for value in chunk.to_pylist()]
        values, codes = self.codes(name)
        values.append(None)  # -1
        return [values[code] for code in codes.tolist()]

    def codes(self, name: str) -> tuple[list[Any], "NDArray[np.integer[Any]]"]:
        """A column of texts as the different ones, sorted, and the number of each row's among them; -1: null.

        As many bytes a row as that number needs: one, for a few labels.
        """
        number: dict[str, int] = {}
        pieces: list[NDArray[np.integer[Any]]] = []
        for chunk in self.parts.chunks(name):
            for piece in chunk.dictionary_encode().chunks:
                known = np.array([number.setdefault(v, len(number)) for v in piece.dictionary.to_pylist()], np.int64)
                place = piece.indices.fill_null(-1).to_numpy(zero_copy_only=False)
                codes = np.append(known, -1)[place]
                pieces.append(codes.astype(np.min_scalar_type(-max(len(number), 1))))
        values = sorted(number)
        rank = np.empty(len(values) + 1, np.min_scalar_type(-max(len(values), 1)))
        rank[[number[value] for value in values]] = np.arange(len(values))
        rank[-1] = -1
        return values, rank[np.concatenate(pieces)] if pieces else rank[:0]

    @property
    def labels(self) -> list[str]:
        """The labels found, sorted; rows without a label do not count."""
        return self.codes("label")[0]

    @property
    def patch_px(self) -> int:
        """Side of a patch, in pixels, as the first one has it."""
        return int(self.images([0]).shape[1])

    def select(self, *, split: str | None = None, label: str | None = None) -> "NDArray[np.int64]":
        """Row numbers of that split and label (None: any)."""
        keep = np.ones(len(self), dtype=bool)
        for name, wanted in (("split", split), ("label", label)):
            if wanted is not None:
                values, codes = self.codes(name)
                keep &= codes == (values.index(wanted) if wanted in values else len(values))
        return np.flatnonzero(keep)

    def images(self, rows: Sequence[int] | NDArray[np.int64], *, threads: int | None = None) -> NDArray[np.uint8]:
        """Read and decode these rows: (N, H, W, 3) uint8.

        Raises:
            HistosynthError: an image is damaged, or not of the size of the first.
        """
        with self._decoding():
            decoded = self.parts.each_image(np.asarray(rows, np.int64), decode_png, threads=threads)
        return self._stack(decoded)

    def stream_images(self) -> Iterator[NDArray[np.uint8]]:
        """Decode all rows in order, a row group at a time: (N, H, W, 3) uint8.

        Raises:
            HistosynthError: an image is damaged, or not of the size of those beside it.
        """
        with self._decoding():
            for decoded in self.parts.stream_images(decode_png):
                yield self._stack(decoded)

    def images_hash(self, rows: Sequence[int] | NDArray[np.int64]) -> str:
        """SHA-256 over the images of these rows in their order, as they are stored."""
        digest, rows = hashlib.sha256(), np.asarray(rows, np.int64)
        for start in range(0, len(rows), _BATCH):
            digest.update(b"".join(self.parts.each_image(rows[start : start + _BATCH], _sha256)))
        return digest.hexdigest()

    def content_hash(self) -> str:
        """SHA-256 over what the rows say and show, whatever the files are called and wherever one ends.

        Images count by what `write_part` noted of them. They are read only where that note is missing, or the part no
        longer has the size that the manifest states: another program wrote it.
        """
        digest = hashlib.sha256()
        for name in ("patch_id", "label", "split", "source"):
            digest.update(f"\0{name}\0".encode())
            for chunk in self.parts.chunks(name):
                digest.update("".join(f"{value}\0" for value in chunk.to_pylist()).encode())
        images = 0
        for part, (rows, size, notes) in enumerate(self.parts.notes()):
            path, noted = self.parts.paths[part], notes.get(_IMAGES.encode())
            if noted is None or self.manifest.get("files", {}).get(path.name) != size:
                every = np.arange(rows) + self.parts.starts[part]
                with self._decoding():
                    found = chain(self.parts.each_image(every, _sha256))
            else:
                found = int(noted, 16)
            images = join(images, found, images=rows)
        digest.update(str(images).encode())
        return digest.hexdigest()

    @contextmanager
    def _decoding(self) -> Iterator[None]:
        try:
            yield
        except (OSError, SyntaxError, ValueError, TypeError) as error:
            raise HistosynthError(
                f"the store {self.path} holds a damaged image ({error}); make the store anew"
            ) from error

    def _stack(self, decoded: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        sizes = {image.shape for image in decoded}
        if len(sizes) > 1:
            raise HistosynthError(f"the store {self.path} mixes patch sizes {sorted(sizes)}; make one store of each")
        return np.stack(decoded) if decoded else np.empty((0, 0, 0, 3), dtype=np.uint8)
