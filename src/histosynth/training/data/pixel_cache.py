"""Patches decoded once, in a file that is mapped into memory: a patch is then a copy of bytes, from any process.

The file is named by what decides its content, the store's `content_hash`. It holds a page that says what it is, the
pixels (N, S, S, 3), and a CRC-32 of each patch, which is checked whenever the patch is read. It is written under
another name, by one process while others wait for it, and renamed: it is whole or absent.
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
    """The user's own place for decoded patches."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "histosynth" / "pixels"


def file_bytes(store: Store, *, image_px: int) -> int:
    """Size of the file for a store."""
    return _PAGE + len(store) * (3 * image_px**2 + 4)


def space_problem(size: int, *, directory: Path, limit_gb: float) -> str | None:
    """Why so many bytes do not fit into the directory; None where they do, once other files there are gone."""
    if size > limit_gb * _GB:
        return f"they take {size / _GB:.1f} GB, more than train.cache_gb = {limit_gb:g}"
    place = next(parent for parent in (directory, *directory.parents) if parent.exists())
    free = shutil.disk_usage(place).free + sum(size for _, size, _ in _kept(directory))
    if size > free:
        return f"they take {size / _GB:.1f} GB, and {directory} has {free / _GB:.1f} GB left"
    return None


class PixelCache:
    """The decoded patches of a store, made where they are not there yet.

    Args:
        store: the store.
        directory: where decoded patches are kept, made if absent.
        image_px: side of a patch.
        limit_gb: the most that the directory may hold; files used least recently go first.
        progress: show a progress bar.

    Raises:
        HistosynthError: no room, a place that cannot be written, or a damaged patch in the store.
    """

    def __init__(
        self, store: Store, *, directory: Path, image_px: int, limit_gb: float, progress: bool = False
    ) -> None:
        self._page = _page(store, image_px=image_px)
        self.path = directory / f"{json.loads(self._page)['content'][:32]}{_SUFFIX}"
        self._shape, self._size = (len(store), image_px, image_px, 3), file_bytes(store, image_px=image_px)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if not self._is_whole():
                with _one_at_a_time(directory / LOCK):
                    if not self._is_whole():  # another process made it meanwhile
                        self._make(store, limit_gb=limit_gb, progress=progress)
            os.utime(self.path)
            self._pixels = np.memmap(self.path, np.uint8, "r", _PAGE, self._shape)
            self._checks = np.memmap(self.path, np.uint32, "r", self._size - 4 * len(store), (len(store),))
        except OSError as error:
            raise HistosynthError(
                f"decoded patches cannot be kept in {directory} ({error.strerror or error}); name another directory by "
                "train.cache, or set train.cache=off"
            ) from error

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """These rows of the store: (N, S, S, 3).

        Raises:
            HistosynthError: a patch is not as it was written.
        """
        images: NDArray[np.uint8] = self._pixels[rows]
        for row, image, check in zip(rows.tolist(), images, self._checks[rows].tolist(), strict=True):
            if zlib.crc32(image) != check:
                raise HistosynthError(f"{self.path} is damaged at patch {row}; delete it, and it is made anew")
        return images

    def _is_whole(self) -> bool:
        """Whether the file is the one wanted: its size, and the page that says what it is."""
        try:
            with self.path.open("rb") as file:
                return self.path.stat().st_size == self._size and file.read(_PAGE) == self._page
        except FileNotFoundError:
            return False

    def _make(self, store: Store, *, limit_gb: float, progress: bool) -> None:
        for torn in (self.path, *self.path.parent.glob(f".*{_SUFFIX}.tmp")):  # nobody else writes here now
            torn.unlink(missing_ok=True)
        if why := space_problem(self._size, directory=self.path.parent, limit_gb=limit_gb):
            raise HistosynthError(f"no room for decoded patches: {why}; raise it, free some, or set train.cache=off")
        _make_room(self.path.parent, self._size, limit_gb=limit_gb)
        checks, done = np.empty(len(store), np.uint32), 0
        with (
            atomic_write(self.path) as file,
            tqdm(total=len(store), unit="patch", desc="decode", disable=not progress) as bar,
        ):
            file.write(self._page)
            for images in store.stream_images():
                if images.shape[1:] != self._shape[1:]:
                    raise HistosynthError(f"the store {store.path} mixes patch sizes; make one store of each")
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


def _kept(directory: Path) -> list[tuple[float, int, Path]]:
    """What the directory holds: when it was last used, its size, its path."""
    found = []
    for path in directory.glob(f"*{_SUFFIX}"):
        with suppress(FileNotFoundError):  # another process was quicker
            found.append((path.stat().st_mtime, path.stat().st_size, path))
    return sorted(found)


def _make_room(directory: Path, size: int, *, limit_gb: float) -> None:
    """Delete files until `size` bytes fit, those used least recently first. Who has one mapped keeps it."""
    kept = _kept(directory)
    while kept and (
        sum(bytes_ for _, bytes_, _ in kept) + size > limit_gb * _GB or size > shutil.disk_usage(directory).free
    ):
        kept.pop(0)[2].unlink(missing_ok=True)


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Wait until no other process holds this lock; it ends with the process."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
