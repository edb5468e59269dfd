"""The patch store: one Parquet file a slide, one row a patch. Real and synthetic patches share the schema.

`DIR/manifest.json` says what the store is and how it came to be; `DIR/part-<name>.parquet` holds the patches (`part`).
A store is written here and read wherever it lies: a directory, or `https://…` and `s3://…` through fsspec.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from histosynth.errors import HistosynthError
from histosynth.remote import open_binary, url_of
from histosynth.rundir import MANIFEST, read_manifest, require_directory, write_json
from histosynth.store.part import BATCH_ROWS, IMAGES_HASH, SCHEMA, Patch, image_sha256, patch_of
from histosynth.store.part_files import PartFiles
from histosynth.store.png import decode_png, synthetic_mark
from histosynth.store.rolling_hash import concatenate_hashes, hash_sequence

KIND = "patch store"


def list_parts(directory: Path) -> list[Path]:
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


def write_manifest(directory: Path, content: Mapping[str, Any]) -> None:
    """Write the store's manifest: it marks the store as complete, so it comes last. It names the files."""
    files = {part.name: part.stat().st_size for part in list_parts(directory)}
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
        columns = [
            [piece for chunk in self.parts.column_chunks(name) for piece in chunk.chunks] for name in SCHEMA.names
        ]
        return pa.table([pa.chunked_array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)

    def column(self, name: str) -> list[Any]:
        """One column as a list, None for null. Read anew by each call; equal texts are one object."""
        if SCHEMA.field(name).type != pa.string():
            return [value for chunk in self.parts.column_chunks(name) for value in chunk.to_pylist()]
        values, codes = self.codes(name)
        values.append(None)  # -1
        return [values[code] for code in codes.tolist()]

    def codes(self, name: str) -> tuple[list[Any], "NDArray[np.integer[Any]]"]:
        """A column of texts as the different ones, sorted, and the number of each row's among them; -1: null.

        As many bytes a row as that number needs: one, for a few labels.
        """
        number: dict[str, int] = {}
        pieces: list[NDArray[np.integer[Any]]] = []
        for chunk in self.parts.column_chunks(name):
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
    def generators(self) -> list[str]:
        """The models that made its synthetic patches, sorted; none where all are real."""
        return [source for source in self.codes("source")[0] if source != "real"]

    @property
    def mark(self) -> dict[str, str]:
        """The texts that any PNG of its patches carries: the mark of its generators, or nothing where all are real."""
        generators = self.generators
        return synthetic_mark(", ".join(generators)) if generators else {}

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
            HistosynthError: an image is damaged, or not of the size of the first.
        """
        with self._decoding():
            decoded = self.parts.map_images(np.asarray(rows, np.int64), decode_png, threads=threads)
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
        for start in range(0, len(rows), BATCH_ROWS):
            digest.update(b"".join(self.parts.map_images(rows[start : start + BATCH_ROWS], image_sha256)))
        return digest.hexdigest()

    def content_hash(self) -> str:
        """SHA-256 over what the rows say and show, whatever the files are called and wherever one ends.

        Images count by what `write_part` noted of them. They are read only where that note is missing, or the part no
        longer has the size that the manifest states: another program wrote it.
        """
        digest = hashlib.sha256()
        for name in ("patch_id", "label", "split", "source"):
            digest.update(f"\0{name}\0".encode())
            for chunk in self.parts.column_chunks(name):
                digest.update("".join(f"{value}\0" for value in chunk.to_pylist()).encode())
        images = 0
        for part, (rows, size, notes) in enumerate(self.parts.metadata()):
            path, noted = self.parts.paths[part], notes.get(IMAGES_HASH.encode())
            if noted is None or self.manifest.get("files", {}).get(path.name) != size:
                every = np.arange(rows) + self.parts.starts[part]
                with self._decoding():
                    found = hash_sequence(self.parts.map_images(every, image_sha256))
            else:
                found = int(noted, 16)
            images = concatenate_hashes(images, found, images=rows)
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
