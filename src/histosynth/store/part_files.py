"""The parts of a store, read by row group in any order: local files, or remote ones through fsspec.

Opening reads the footer of each part, which states its number of rows and their positions in the file. Memory does not
grow with the images: it holds the number of rows of each part, and up to 100 MB of footers.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from histosynth.errors import HistosynthError
from histosynth.remote import open_binary, url_of
from histosynth.store.threads import available_cores, map_in_threads

_FOOTER_BYTES = 8 << 20  # as serialized; in memory a footer takes 13 times as much
_REMOTE_THREADS = 32  # which wait for the network most of the time


class PartFiles:
    """Parts in the order of their names, as one sequence of rows.

    Args:
        paths: the parts; a URL is represented as a `Path`.
        schema: required are its non-nullable columns and `image`; a column of another type is an error.

    Raises:
        HistosynthError: a part is damaged, has another schema, or cannot be reached.
    """

    def __init__(self, paths: Sequence[Path], *, schema: pa.Schema) -> None:
        self.paths, self._schema = list(paths), schema
        self._threads = _REMOTE_THREADS if any(url_of(path) for path in self.paths[:1]) else None
        self._footers: OrderedDict[int, _Footer] = OrderedDict()
        self._held = 0
        self._lock = Lock()
        counts = list(map_in_threads(self._check, range(len(self.paths)), threads=self._threads))
        self.starts: NDArray[np.int64] = np.cumsum([0, *counts])  # first row of each part, and the total

    def __len__(self) -> int:
        return int(self.starts[-1])

    def column_chunks(self, name: str) -> Iterator[pa.ChunkedArray]:
        """Yield one column, part by part."""
        field = self._schema.field(name)

        def read(part: int) -> pa.ChunkedArray:
            with self._open(part) as file:
                if name not in file.schema_arrow.names:
                    return pa.chunked_array([pa.nulls(file.metadata.num_rows, field.type)])
                table = _complete(file.read(columns=[name], use_threads=False), rows=file.metadata.num_rows)
                table.validate(full=True)  # text that is no UTF-8
                return table.column(0)

        return map_in_threads(read, range(len(self.paths)), threads=self._threads)

    def metadata(self) -> Iterator[tuple[int, int, dict[bytes, bytes]]]:
        """Yield the number of rows, the size of the file in bytes, and the metadata of each part."""

        def read(part: int) -> tuple[int, int, dict[bytes, bytes]]:
            footer = self._footer(part)
            return footer.metadata.num_rows, footer.file_bytes, footer.metadata.metadata or {}

        return map_in_threads(read, range(len(self.paths)), threads=self._threads)

    def read_row(self, row: int) -> dict[str, Any]:
        """Return all columns of one row, None for those that its part lacks; only its row group is read."""
        part = int(np.searchsorted(self.starts, row, side="right")) - 1
        starts = self._footer(part).starts
        offset = row - int(self.starts[part])
        group = int(np.searchsorted(starts, offset, side="right")) - 1
        with self._open(part) as file:
            names = [name for name in self._schema.names if name in file.schema_arrow.names]
            table = file.read_row_group(group, columns=names, use_threads=False)
            table = _complete(table, rows=file.metadata.row_group(group).num_rows)
            cells: dict[str, Any] = table.slice(offset - int(starts[group]), 1).to_pylist()[0]
        return dict.fromkeys(self._schema.names) | cells

    def map_images(
        self, rows: NDArray[np.int64], function: Callable[[bytes], Any], *, threads: int | None = None
    ) -> list[Any]:
        """Apply `function` to the image bytes of these rows, in order, in threads; each row group is read once."""
        part = np.searchsorted(self.starts, rows, side="right") - 1
        wanted: dict[tuple[int, int], list[tuple[int, int]]] = {}  # (part, row group) -> [(position, offset)]
        for position, (p, row) in enumerate(zip(part.tolist(), (rows - self.starts[part]).tolist(), strict=True)):
            starts = self._footer(p).starts
            group = int(np.searchsorted(starts, row, side="right")) - 1
            wanted.setdefault((p, group), []).append((position, row - int(starts[group])))
        results: list[Any] = [None] * len(rows)

        def read(key: tuple[int, int]) -> None:
            cells = self._cells(*key)
            for position, offset in wanted[key]:
                results[position] = function(cells[offset].as_py())

        for _ in map_in_threads(read, wanted, threads=threads or self._threads):
            pass
        return results

    def stream_images(self, function: Callable[[bytes], Any]) -> Iterator[list[Any]]:
        """Apply `function` to the image bytes of all rows in order, by row group, in threads."""

        def read(key: tuple[int, int]) -> list[Any]:
            return [function(cell) for cell in self._cells(*key).to_pylist()]

        keys = ((part, group) for part in range(len(self.paths)) for group in range(len(self._footer(part).starts)))
        return map_in_threads(read, keys, threads=self._threads or available_cores())

    def _cells(self, part: int, group: int) -> pa.Array:
        """Return the image bytes of a row group."""
        with self._open(part) as file:
            table = file.read_row_group(group, columns=["image.bytes"], use_threads=False)
            table = _complete(table, rows=file.metadata.row_group(group).num_rows)
        return table.column(0).combine_chunks().field(0)

    def _check(self, part: int) -> int:
        """Check the columns of a part and return its number of rows."""
        with self._reading(part):
            footer = self._footer(part).metadata
            require_columns(footer.schema.to_arrow_schema(), self._schema)
        return int(footer.num_rows)

    def _footer(self, part: int) -> "_Footer":
        with self._lock:
            if part in self._footers:
                self._footers.move_to_end(part)
                return self._footers[part]
        with self._reading(part), self._source(part) as source:
            file_bytes = source.stat().st_size if isinstance(source, Path) else source.size
            footer = _Footer(pq.read_metadata(source), file_bytes=file_bytes)
        with self._lock:
            if part not in self._footers:
                self._footers[part] = footer
                self._held += footer.size
            while len(self._footers) > 1 and self._held > _FOOTER_BYTES:
                self._held -= self._footers.popitem(last=False)[1].size
        return footer

    @contextmanager
    def _open(self, part: int) -> Iterator[pq.ParquetFile]:
        footer = self._footer(part).metadata
        with (
            self._reading(part),
            self._source(part) as source,
            pq.ParquetFile(source, metadata=footer, page_checksum_verification=True) as file,
        ):
            yield file

    @contextmanager
    def _source(self, part: int) -> Iterator[Any]:
        path = self.paths[part]
        if url_of(path) is None:
            yield path
            return
        with open_binary(path, what="part", blocks=False) as file:
            yield file

    @contextmanager
    def _reading(self, part: int) -> Iterator[None]:
        path = self.paths[part]
        try:
            yield
        except HistosynthError:
            raise
        except Exception as error:
            url = url_of(path)  # each fsspec protocol raises the exceptions of its own library
            if url is None and not isinstance(error, OSError | pa.ArrowException | KeyError | ValueError):
                raise
            fix = "check the address, or copy the store here" if url else "delete it and rerun the command"
            raise HistosynthError(f"{url or path} cannot be read ({error}); {fix}") from error


def require_columns(schema: pa.Schema, expected: pa.Schema) -> None:
    """Raise KeyError unless a part has the expected columns; nullable ones but the image may be absent."""
    for field in expected:
        if field.name not in schema.names and (field.name == "image" or not field.nullable):
            raise KeyError(f"no column '{field.name}'")
        if field.name in schema.names and schema.field(field.name).type != field.type:
            raise KeyError(f"column '{field.name}' is {schema.field(field.name).type}, not {field.type}")


def _complete(table: pa.Table, *, rows: int) -> pa.Table:
    """Return the table if it has as many rows as the footer states."""
    if table.num_rows != rows:
        raise OSError(f"{table.num_rows} rows where the footer states {rows}")
    return table


class _Footer:
    """The footer of a part, with the first row of each row group."""

    def __init__(self, metadata: pq.FileMetaData, *, file_bytes: int) -> None:
        self.metadata, self.size, self.file_bytes = metadata, int(metadata.serialized_size), file_bytes
        counts = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        self.starts: NDArray[np.int64] = np.cumsum([0, *counts])[:-1]
