"""Decoded patches in a memory-mapped file, decoded once: any process then reads a patch by copying its bytes.

The name of the file derives from what determines its content, the `content_hash` of the store. It holds a page that
describes it, the pixels (N, S, S, 3), and a CRC-32 per patch, which is checked at each read. One process writes it
under another name while others wait, and renames it, so that it is complete or absent.
"""

import json
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from histosynth.errors import HistosynthError
from histosynth.rundir import LOCK, atomic_write
from histosynth.store.store import Store

_PAGE = 4096
_SUFFIX = ".pixels"
_GB = 10**9


def default_directory() -> Path:
    """Return the directory for decoded patches in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "histosynth" / "pixels"


def file_bytes(store: Store, *, image_px: int) -> int:
    """Return the size of the file for a store."""
    return _PAGE + len(store) * (3 * image_px**2 + 4)


def space_problem(size: int, *, directory: Path, limit_gb: float) -> str | None:
    """Return why `size` bytes do not fit into the directory, even without its other files; None if they do."""
    if size > limit_gb * _GB:
        return f"they take {size / _GB:.1f} GB, more than train.cache_gb = {limit_gb:g}"
    existing = next(parent for parent in (directory, *directory.parents) if parent.exists())
    free = shutil.disk_usage(existing).free + sum(size for _, size, _ in _cached_files(directory))
    if size > free:
        return f"they take {size / _GB:.1f} GB, and {directory} has {free / _GB:.1f} GB left"
    return None


class PixelCache:
    """The decoded patches of a store, written if they do not exist yet.

    Args:
        store: the store.
        directory: directory of decoded patches, created if absent.
        image_px: side of a patch.
        limit_gb: largest total size of the directory; the least recently used files are deleted first.
        progress: show a progress bar.

    Raises:
        HistosynthError: not enough space, a directory that cannot be written, or a damaged patch in the store.
    """

    def __init__(
        self, store: Store, *, directory: Path, image_px: int, limit_gb: float, progress: bool = False
    ) -> None:
        self._page = _page(store, image_px=image_px)
        self.path = directory / f"{json.loads(self._page)['content'][:32]}{_SUFFIX}"
        self._shape, self._size = (len(store), image_px, image_px, 3), file_bytes(store, image_px=image_px)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if not self._is_complete():
                with _wait_for_lock(directory / LOCK):
                    if not self._is_complete():  # another process may have written it meanwhile
                        self._write(store, limit_gb=limit_gb, progress=progress)
            os.utime(self.path)
            self._pixels = np.memmap(self.path, np.uint8, "r", _PAGE, self._shape)
            self._checks = np.memmap(self.path, np.uint32, "r", self._size - 4 * len(store), (len(store),))
        except OSError as error:
            raise HistosynthError(
                f"decoded patches cannot be written to {directory} ({error.strerror or error}); set train.cache to "
                "another directory, or to off"
            ) from error

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return these rows of the store: (N, S, S, 3).

        Raises:
            HistosynthError: a patch does not match its checksum.
        """
        images: NDArray[np.uint8] = self._pixels[rows]
        for row, image, check in zip(rows.tolist(), images, self._checks[rows].tolist(), strict=True):
            if zlib.crc32(image) != check:
                raise HistosynthError(f"{self.path} is damaged at patch {row}; delete the file, and rerun the command")
        return images

    def _is_complete(self) -> bool:
        """Return whether the file has the expected size and description."""
        try:
            with self.path.open("rb") as file:
                return self.path.stat().st_size == self._size and file.read(_PAGE) == self._page
        except FileNotFoundError:
            return False

    def _write(self, store: Store, *, limit_gb: float, progress: bool) -> None:
        for incomplete in (self.path, *self.path.parent.glob(f".*{_SUFFIX}.tmp")):  # the lock excludes other writers
            incomplete.unlink(missing_ok=True)
        if problem := space_problem(self._size, directory=self.path.parent, limit_gb=limit_gb):
            raise HistosynthError(
                f"no space for decoded patches: {problem}; raise train.cache_gb, free disk space, or set "
                "train.cache=off"
            )
        _free_space(self.path.parent, self._size, limit_gb=limit_gb)
        checks, done = np.empty(len(store), np.uint32), 0
        with (
            atomic_write(self.path) as file,
            tqdm(total=len(store), unit="patch", desc="decode", disable=not progress) as bar,
        ):
            file.write(self._page)
            for images in store.stream_images():
                if images.shape[1:] != self._shape[1:]:
                    raise HistosynthError(f"the store {store.path} mixes patch sizes; make one store per size")
                file.write(images.data)
                checks[done : done + len(images)] = [zlib.crc32(image) for image in images]
                done += len(images)
                bar.update(len(images))
            file.write(checks.data)


def _page(store: Store, *, image_px: int) -> bytes:
    facts: dict[str, Any] = {
        "kind": "histosynth decoded patches",
        "content": store.content_hash(),
        "shape": [len(store), image_px, image_px, 3],
    }
    return (json.dumps(facts) + "\n").encode().ljust(_PAGE)


def _cached_files(directory: Path) -> list[tuple[float, int, Path]]:
    """Return the files in the directory: time of last use, size, path."""
    files = []
    for path in directory.glob(f"*{_SUFFIX}"):
        with suppress(FileNotFoundError):  # deleted by another process meanwhile
            files.append((path.stat().st_mtime, path.stat().st_size, path))
    return sorted(files)


def _free_space(directory: Path, size: int, *, limit_gb: float) -> None:
    """Delete the least recently used files until `size` bytes fit; a process that has mapped one keeps it."""
    files = _cached_files(directory)
    while files and (
        sum(bytes_ for _, bytes_, _ in files) + size > limit_gb * _GB or size > shutil.disk_usage(directory).free
    ):
        files.pop(0)[2].unlink(missing_ok=True)


@contextmanager
def _wait_for_lock(path: Path) -> Iterator[None]:
    """Hold the lock on a file, after other processes have released it; it ends with the process."""

    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
