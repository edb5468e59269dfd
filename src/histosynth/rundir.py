"""What a step leaves on disk: files that are whole or absent, and a manifest that says where they came from."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from histosynth.errors import HistosynthError

MANIFEST = "manifest.json"
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


def read_manifest(directory: Path, *, kind: str) -> dict[str, Any]:
    """The manifest of a store, run or report.

    Raises:
        HistosynthError: it is absent, torn, or says that the directory is something other than `kind`.
    """
    path = directory / MANIFEST
    try:
        manifest = json.loads(path.read_text("utf-8"))
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
