"""Files and directories that commands write: complete or absent, locked while written, and with their provenance."""

import errno
import json
import os
import platform
import stat
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import wraps
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar

from histosynth.errors import HistosynthError
from histosynth.json_files import parse_json, read_text

MANIFEST = "manifest.json"
LOCK = ".lock"
P = ParamSpec("P")
T = TypeVar("T")
_PACKAGES = (
    "histosynth", "imagecodecs", "numpy", "openslide-bin", "openslide-python", "pillow", "pyarrow", "scipy", "shapely",
    "tifffile", "torch",
)  # fmt: skip


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path`, and rename it to `path` once it is written and on disk.

    After any failure in between (an exception, a kill, a full disk), `path` keeps its old content or remains absent.
    The temporary name is fixed, so that the next process overwrites the file of a killed one.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    opened = open_unlinked(temporary)
    try:
        with opened as file:
            file.truncate(0)
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
            raise error.__context__ from None  # torch.save replaces the error of a full disk by its own
        raise


def open_unlinked(path: Path) -> IO[bytes]:
    """Open a file for reading and writing, created if absent, unless the name stands for another file.

    In a directory that others can write, a link of that name would make us overwrite the file behind it.

    Raises:
        HistosynthError: `path` is a link, a named pipe or a device.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)

    def open_checked(name: str, _: int) -> int:
        descriptor = os.open(name, flags, 0o666)
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode) or facts.st_nlink > 1:
            os.close(descriptor)
            raise HistosynthError(f"{path} is a hard link or no regular file; delete it")
        return descriptor

    try:
        return open(path, "r+b", opener=open_checked)  # not `os.fdopen`: tifffile needs a file that has a name
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise HistosynthError(f"{path} is a symbolic link, so another file would be overwritten; delete it") from None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` as indented JSON, completely or not at all."""
    with atomic_write(path) as file:
        file.write((json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text, completely or not at all."""
    with atomic_write(path) as file:
        file.write(content.encode())


def require_directory(path: Path) -> None:
    """Raise an error unless `path` is a directory or does not exist."""
    if path.exists() and not path.is_dir():
        raise HistosynthError(f"{path} is a file; pass a directory")


@contextmanager
def exclusive_lock(directory: Path) -> Iterator[None]:
    """Prevent other commands from writing `directory`; it is created if absent, and removed if it remains empty.

    The lock is held by the kernel on a file in the directory and ends with the process, however that ends. The file is
    deleted before the lock is released, so a process that gets a lock checks that the file of that name is still it.

    Raises:
        HistosynthError: another command holds the lock.
    """
    require_directory(directory)
    created = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / LOCK
    try:
        with _locked(path, of=directory):
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
    finally:
        with suppress(OSError):  # not empty
            for parent in created:
                parent.rmdir()


@contextmanager
def exclusive_replacement(out: Path) -> Iterator[None]:
    """Prevent other commands from replacing the directory `out`; the lock lies beside it, as it is renamed.

    Raises:
        HistosynthError: another command holds the lock.
    """
    path = out.parent / f".{out.name}{LOCK}"
    require_directory(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path, of=out):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def locks_output(function: Callable[P, T]) -> Callable[P, T]:
    """Run `function` under an `exclusive_lock` of its keyword argument `out`, a directory."""

    @wraps(function)
    def locked(*args: P.args, **kwargs: P.kwargs) -> T:
        with exclusive_lock(Path(str(kwargs["out"]))):
            return function(*args, **kwargs)

    return locked


@contextmanager
def _locked(path: Path, *, of: Path) -> Iterator[None]:
    """Hold the lock on the file at `path`, which stands for the directory `of`."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    while True:
        with open_unlinked(path) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read(100).decode(errors="replace")
                raise HistosynthError(
                    f"{of} is being written by another command{holder and f' ({holder})'}; wait for its end, "
                    "or pass another directory"
                ) from None
            except OSError as error:  # a file system without locks
                warnings.warn(
                    f"{of} cannot be locked ({error.strerror}); run only one command on it at a time",
                    stacklevel=2,
                )
            if not _is_at(file, path):
                continue
            file.truncate(0)
            file.seek(0)
            file.write(f"process {os.getpid()} on {platform.node()}".encode())
            file.flush()
            yield
            return


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Return whether `path` still is the opened file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def is_empty(directory: Path) -> bool:
    """Return whether the directory is absent, or empty except for a lock."""
    return not directory.exists() or all(entry.name == LOCK for entry in directory.iterdir())


def read_manifest(directory: Path, *, kind: str, content: str | None = None) -> dict[str, Any]:
    """Read the manifest of a store, run or report, from `content` if its text has been read already.

    Raises:
        HistosynthError: it is absent or damaged, or the directory is not of that `kind`.
    """
    path = directory / MANIFEST
    try:
        text = read_text(path) if content is None else content
    except (FileNotFoundError, NotADirectoryError):
        raise HistosynthError(f"{directory} is not a {kind}: it has no {MANIFEST}") from None
    manifest = parse_json(text, where=path, fix=f"make the {kind} again")
    actual_kind = manifest.get("kind") if isinstance(manifest, dict) else None
    if actual_kind != kind:
        raise HistosynthError(f"{directory} is a {actual_kind or 'directory of another program'}, not a {kind}")
    return dict(manifest)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that can change a result."""
    installed = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            installed[package] = "absent"
    return installed


def git_revision() -> str | None:
    """Return the revision of the source tree that this package runs from, None if it is installed.

    A tree with uncommitted changes gets the suffix `+changes`.
    """

    def git(*arguments: str) -> str:
        completed = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True
        )
        return completed.stdout.strip()

    try:
        # Fails where the package is installed in a .venv inside another repository.
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("describe", "--always", "--abbrev=40", "--dirty=+changes", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def provenance() -> dict[str, Any]:
    """Return versions, source revision, command line and machine; they differ between runs, so stores omit them."""

    return {
        "versions": versions(),
        "git_revision": git_revision(),
        "argv": sys.argv,
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
    }
