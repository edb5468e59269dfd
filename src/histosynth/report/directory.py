"""The directory of a report: complete or absent, replaced by a newer report, never by writing over other files."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from histosynth.errors import HistosynthError
from histosynth.rundir import exclusive_replacement


def check_output(out: Path, *, facts: str, kind: str) -> None:
    """Check that `out` is absent, empty, or an older output whose file `facts` states this `kind`.

    Raises:
        HistosynthError: it is something else, which is never overwritten.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        existing = json.loads((out / facts).read_text("utf-8"))["kind"]
    except (OSError, ValueError, KeyError, TypeError):
        existing = None
    if existing != kind:
        raise HistosynthError(f"--out {out} exists and is not a {kind}; give a new or an empty directory")


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
        if out.exists():
            out.replace(old)
        temporary.replace(out)
    finally:
        for leftover in (temporary, old):
            shutil.rmtree(leftover, ignore_errors=True)
