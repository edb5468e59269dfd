"""The directory of a report: complete or absent, and replaced by a newer report only while it holds nothing else.

`SHA256SUMS` lists every file of the report (`sha256sum --check SHA256SUMS` verifies it). A file that is not listed, or
no longer as listed, is somebody's work, such as notes or an edited page: the directory is then not replaced.
"""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from histosynth.errors import HistosynthError
from histosynth.json_files import parse_json, read_text
from histosynth.rundir import exclusive_replacement, write_text

SUMS = "SHA256SUMS"


def check_output(out: Path, *, facts: str, kind: str) -> None:
    """Check that `out` is absent, empty, or an older output whose file `facts` states this `kind`, and nothing else.

    Raises:
        HistosynthError: it holds something else, which is never overwritten.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        existing = parse_json(read_text(out / facts), where=out / facts, fix="")["kind"]
    except (OSError, HistosynthError, KeyError, TypeError):
        existing = None
    if existing != kind:
        raise HistosynthError(f"--out {out} exists and is not a {kind}; give a new or an empty directory")
    written, found = _listed(out), _sums(out)
    for name, digest in found.items():
        if name not in written:
            raise HistosynthError(
                f"--out {out} holds {name}, which the {kind} did not write; move it, or name another directory"
            )
        if digest != written[name]:
            raise HistosynthError(
                f"--out {out} holds {name}, changed since it was written; move it, or name another directory"
            )


@contextmanager
def replace_directory(out: Path) -> Iterator[Path]:
    """Yield a temporary directory beside `out` that replaces it once everything in it is written.

    Raises:
        HistosynthError: another command is writing `out`.
    """
    with exclusive_replacement(out):
        yield from _replaced(out)


def _replaced(out: Path) -> Iterator[Path]:
    temporary, old = (out.with_name(f".{out.name}.{suffix}") for suffix in ("tmp", "old"))
    for leftover in (temporary, old):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        write_text(temporary / SUMS, "".join(f"{digest}  {name}\n" for name, digest in _sums(temporary).items()))
        if out.exists():
            out.replace(old)
        temporary.replace(out)
    finally:
        for leftover in (temporary, old):
            shutil.rmtree(leftover, ignore_errors=True)


def _sums(directory: Path) -> Mapping[str, str]:
    """Return the SHA-256 of each file, links included, by its path in the directory; that of the list is left out."""
    files = sorted(p for p in directory.rglob("*") if (p.is_symlink() or not p.is_dir()) and p != directory / SUMS)
    return {p.relative_to(directory).as_posix(): _sha256(p) for p in files}


def _sha256(path: Path) -> str:
    if path.is_symlink() or not path.is_file():  # a pipe cannot be read to its end
        return "not a file"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _listed(directory: Path) -> Mapping[str, str]:
    try:
        lines = read_text(directory / SUMS).splitlines()
    except (OSError, HistosynthError):
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
