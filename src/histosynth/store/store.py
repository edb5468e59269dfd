"""The patch store: one Parquet file per slide, one row per patch. Real and synthetic patches share the schema.

`DIR/manifest.json` describes the store and its origin; `DIR/part-<name>.parquet` holds the patches (`part`). A store is
written to a local directory, and read from a directory or, through fsspec, from `https://…` and `s3://…`.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from histosynth.errors import HistosynthError
from histosynth.remote import open_binary, url_of
from histosynth.rundir import MANIFEST, require_directory, write_json
from histosynth.store.manifest import KIND, read_store_manifest
from histosynth.store.part import IMAGES_HASH, SCHEMA, Patch, image_sha256, patch_of
from histosynth.store.part_files import PartFiles
from histosynth.store.png import decode_png, png_size, synthetic_mark
from histosynth.store.rolling_hash import concatenate_hashes, hash_sequence
from histosynth.store.source import made_by_model

_HASH = re.compile(rb"[0-9a-f]{1,64}")


def list_parts(directory: Path) -> list[Path]:
    """Return the parts of a store, complete or not; none where the directory is absent or empty.

    Raises:
        HistosynthError: the directory holds other files.
    """
    require_directory(directory)
    if not directory.exists():
        return []
    parts = sorted(directory.glob("part-*.parquet"))
    if (directory / MANIFEST).exists():
        read_store_manifest(directory)
    elif not parts and (others := sorted(e.name for e in directory.iterdir() if not e.name.startswith("."))):
        raise HistosynthError(
            f"--out {directory} is not a patch store and not empty (it holds {others[0]}); name another directory"
        )
    return parts


def write_manifest(directory: Path, content: Mapping[str, Any]) -> None:
    """Write the manifest, with the names and sizes of the parts. Call it last: it marks the store as complete."""
    files = {part.name: part.stat().st_size for part in list_parts(directory)}
    write_json(directory / MANIFEST, {"kind": KIND, **content, "files": files})


class Store:
    """A patch store opened for reading, local or remote. Each call reads what it returns; nothing stays in memory.

    Args:
        path: the directory, or its URL. A URL cannot be listed, so there the manifest names the parts.

    Raises:
        HistosynthError: not a store, a damaged or missing part, or no patch in it.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if url_of(self.path) is None:
            self.manifest = read_store_manifest(self.path)
            parts = sorted(self.path.glob("part-*.parquet"))
            if missing := sorted(set(self.manifest.get("files", {})) - {part.name for part in parts}):
                raise HistosynthError(
                    f"the store {self.path} lacks {missing[0]} ({len(missing)} of its parts are missing); rerun the "
                    "command that made it"
                )
        else:
            with open_binary(self.path / MANIFEST, what="store", blocks=False) as file:
                self.manifest = read_store_manifest(self.path, content=file.read().decode(errors="replace"))
            if "files" not in self.manifest:
                raise HistosynthError(f"{url_of(self.path / MANIFEST)} names no files; make the store again")
            parts = [self.path / name for name in self.manifest["files"]]
        self.parts = PartFiles(parts, schema=SCHEMA)
        if not len(self):
            raise HistosynthError(
                f"the store {self.path} holds no patch; its {MANIFEST} gives the reason for each slide"
            )

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def table(self) -> pa.Table:
        """All rows and columns in memory, with encoded images."""
        columns = [
            [piece for chunk in self.parts.column_chunks(name) for piece in chunk.chunks] for name in SCHEMA.names
        ]
        return pa.table([pa.chunked_array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)

    def column(self, name: str) -> list[Any]:
        """Return a column as a list, None for null. Each call reads it again; equal texts share one object."""
        if SCHEMA.field(name).type != pa.string():
            return [value for chunk in self.parts.column_chunks(name) for value in chunk.to_pylist()]
        values, codes = self.codes(name)
        values.append(None)  # for code -1
        return [values[code] for code in codes.tolist()]

    def codes(self, name: str) -> tuple[list[Any], "NDArray[np.integer[Any]]"]:
        """Return the distinct texts of a column, sorted, and the index of each row's text among them; -1: null.

        The indices have the smallest integer type that holds them: one byte per row for a few labels.
        """
        number: dict[str, int] = {}
        pieces: list[NDArray[np.integer[Any]]] = []
        for chunk in self.parts.column_chunks(name):
            for piece in chunk.dictionary_encode().chunks:
                known = np.array([number.setdefault(v, len(number)) for v in piece.dictionary.to_pylist()], np.int64)
                indices = piece.indices.fill_null(-1).to_numpy(zero_copy_only=False)
                codes = np.append(known, -1)[indices]
                pieces.append(codes.astype(np.min_scalar_type(-max(len(number), 1))))
        values = sorted(number)
        rank = np.empty(len(values) + 1, np.min_scalar_type(-max(len(values), 1)))
        rank[[number[value] for value in values]] = np.arange(len(values))
        rank[-1] = -1
        return values, rank[np.concatenate(pieces)] if pieces else rank[:0]

    @property
    def labels(self) -> list[str]:
        """The labels, sorted; rows without a label are ignored."""
        return self.codes("label")[0]

    @property
    def generators(self) -> list[str]:
        """The sources of the synthetic patches, sorted; none where all are real."""
        return [source for source in self.codes("source")[0] if made_by_model(self.manifest, source)]

    @property
    def synthetic(self) -> bool:
        """True if a model made any of the patches (`source.made_by_model`)."""
        return bool(self.generators)

    @property
    def mark(self) -> dict[str, str]:
        """The texts for a PNG of its patches: the mark with its generators, or nothing where all are real."""
        generators = self.generators
        return synthetic_mark(", ".join(generators)) if generators else {}

    @property
    def patch_px(self) -> int:
        """Side of the first patch, in pixels; all others must have it too."""
        return self._size[0]

    @cached_property
    def _size(self) -> tuple[int, int]:
        """Width and height of the first patch, as its PNG states them."""
        with self._decoding():
            size: tuple[int, int] = self.parts.map_images(np.zeros(1, np.int64), png_size)[0]
        return size

    def select(self, *, split: str | None = None, label: str | None = None) -> "NDArray[np.int64]":
        """Return the row numbers of a split and label (None: any)."""
        keep = np.ones(len(self), dtype=bool)
        for name, wanted in (("split", split), ("label", label)):
            if wanted is not None:
                values, codes = self.codes(name)
                keep &= codes == (values.index(wanted) if wanted in values else len(values))
        return np.flatnonzero(keep)

    def patch(self, row: int) -> Patch:
        """Return one patch with all its columns; only its row group is read.

        Raises:
            HistosynthError: its image is damaged.
        """
        cells = self.parts.read_row(row)
        with self._decoding():
            return patch_of(cells)

    def images(self, rows: Sequence[int] | NDArray[np.int64], *, threads: int | None = None) -> NDArray[np.uint8]:
        """Read and decode these rows: (N, H, W, 3) uint8.

        Raises:
            HistosynthError: an image is damaged, or has another size than the first of the store.
        """
        with self._decoding():
            decoded = self.parts.map_images(np.asarray(rows, np.int64), self._decoder(), threads=threads)
        return np.stack(decoded) if decoded else np.empty((0, 0, 0, 3), dtype=np.uint8)

    def stream_images(self) -> Iterator[NDArray[np.uint8]]:
        """Decode all rows in order, by row group: (N, H, W, 3) uint8.

        Raises:
            HistosynthError: an image is damaged, or has another size than the first of the store.
        """
        with self._decoding():
            for decoded in self.parts.stream_images(self._decoder()):
                yield np.stack(decoded)

    def image_hashes(self, rows: Sequence[int] | NDArray[np.int64]) -> list[bytes]:
        """Return the SHA-256 of the encoded image of each of these rows."""
        return self.parts.map_images(np.asarray(rows, np.int64), image_sha256)

    def content_hash(self) -> str:
        """Return the SHA-256 over the content of the rows; it does not depend on the names and boundaries of the files.

        Images enter by the hash that `write_part` stored in the part. They are read only where that hash is missing, or
        where the part does not have the size that the manifest states, since another program then wrote it.
        """
        digest = hashlib.sha256()
        for name in ("patch_id", "label", "split", "source"):
            digest.update(f"\0{name}\0".encode())
            for chunk in self.parts.column_chunks(name):
                digest.update("".join(f"{value}\0" for value in chunk.to_pylist()).encode())
        total = 0
        for part, (rows, size, metadata) in enumerate(self.parts.metadata()):
            path, stored_hash = self.parts.paths[part], metadata.get(IMAGES_HASH.encode(), b"")
            if not _HASH.fullmatch(stored_hash) or self.manifest.get("files", {}).get(path.name) != size:
                all_rows = np.arange(rows) + self.parts.starts[part]
                with self._decoding():
                    images_hash = hash_sequence(self.parts.map_images(all_rows, image_sha256))
            else:
                images_hash = int(stored_hash, 16)
            total = concatenate_hashes(total, images_hash, n_second=rows)
        digest.update(str(total).encode())
        return digest.hexdigest()

    @contextmanager
    def _decoding(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, TypeError) as error:
            raise HistosynthError(
                f"the store {self.path} holds a damaged image ({error}); make the store again"
            ) from error

    def _decoder(self) -> Callable[[bytes], NDArray[np.uint8]]:
        """Return a function that decodes images of the size of the first; others are not decoded at all."""
        size = self._size

        def decode(data: bytes) -> NDArray[np.uint8]:
            if (other := png_size(data)) != size:
                raise HistosynthError(
                    f"the store {self.path} mixes patch sizes, {size[0]} x {size[1]} and {other[0]} x {other[1]} px; "
                    "make one store per size"
                )
            return decode_png(data)

        return decode
