"""What a step leaves on disk: files that are whole or absent, and a manifest that says where they came from."""

import json
import os
import platform
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
    """Open a temporary file beside `path`, and rename it over `path` once it is written and on disk.

    Whatever goes wrong in between (an exception, a kill, a full disk), `path` keeps its old content or stays absent.
    The temporary name is fixed, so what a killed process left is overwritten by the next.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
            raise error.__context__ from None  # torch.save hides a full disk behind an error of its own
        raise


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` as indented JSON, whole or not at all."""
    with atomic_write(path) as file:
        file.write((json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with atomic_write(path) as file:
        file.write(content.encode())


def require_directory(path: Path) -> None:
    """Raise unless `path` is a directory, or nothing yet."""
    if path.exists() and not path.is_dir():
        raise HistosynthError(f"{path} is a file; name a directory")


@contextmanager
def exclusive_lock(directory: Path) -> Iterator[None]:
    """Keep every other command from writing `directory` meanwhile; made if absent, and gone again if left empty.

    The lock is the kernel's, on a file in the directory: it ends with the process, however that ends. The file is
    deleted before the lock is given back, so whoever gets a lock looks whether it is still on the file of that name.

    Raises:
        HistosynthError: another command holds the lock.
    """
    require_directory(directory)
    made = [place for place in (directory, *directory.parents) if not place.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / LOCK
    try:
        with _locked(path):
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
    finally:
        with suppress(OSError):  # not empty
            for place in made:
                place.rmdir()


def locks_output(function: Callable[P, T]) -> Callable[P, T]:
    """Run `function` under an `exclusive_lock` of its keyword argument `out`, a directory."""

    @wraps(function)
    def alone(*args: P.args, **kwargs: P.kwargs) -> T:
        with exclusive_lock(Path(str(kwargs["out"]))):
            return function(*args, **kwargs)

    return alone


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock on the file that `path` names."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    while True:
        with path.open("a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read(100).decode(errors="replace")
                raise HistosynthError(
                    f"{path.parent} is being written by another command{holder and f' ({holder})'}; wait until that "
                    "one ends, or name another directory"
                ) from None
            except OSError as error:  # a file system without locks
                warnings.warn(f"{path.parent} cannot be locked ({error.strerror}); run one command on it", stacklevel=2)
            if not _is_at(file, path):
                continue
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}".encode())
            file.flush()
            yield
            return


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether `path` still names the opened file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def is_empty(directory: Path) -> bool:
    """Whether the directory is absent or holds nothing but a lock."""
    return not directory.exists() or all(entry.name == LOCK for entry in directory.iterdir())


def read_manifest(directory: Path, *, kind: str, content: str | None = None) -> dict[str, Any]:
    """The manifest of a store, run or report; `content` is its text where that was read already.

    Raises:
        HistosynthError: it is absent, torn, or says that the directory is something other than `kind`.
    """
    path = directory / MANIFEST
    try:
        manifest = json.loads(path.read_text("utf-8") if content is None else content)
    except (FileNotFoundError, NotADirectoryError):
        raise HistosynthError(f"{directory} is no {kind}: it has no {MANIFEST}") from None
    except ValueError as error:
        raise HistosynthError(f"{path} is damaged ({error}); make the {kind} anew") from error
    found = manifest.get("kind") if isinstance(manifest, dict) else None
    if found != kind:
        raise HistosynthError(f"{directory} is a {found or 'directory of another program'}, not a {kind}")
    return dict(manifest)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a result."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def git_revision() -> str | None:
    """Revision of the source tree that this package runs from, with `+changes` where it has some; None if installed."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # else: a .venv inside somebody else's repository
        return git("describe", "--always", "--abbrev=40", "--dirty=+changes", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def provenance() -> dict[str, Any]:
    """What made this: versions, source revision, command line, machine. It differs between runs, so stores lack it."""
    return {
        "versions": versions(),
        "git_revision": git_revision(),
        "argv": sys.argv,
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
    }
