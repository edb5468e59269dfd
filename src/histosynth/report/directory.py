"""The directory of a report: whole or absent, replaced by a newer one, never written over another thing."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from histosynth.errors import HistosynthError


def check_output(out: Path, *, facts: str, kind: str) -> None:
    """See that `out` is absent, empty, or an older one whose file `facts` says that it is of this `kind`.

    Raises:
        HistosynthError: it is something else, which is never overwritten.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        found = json.loads((out / facts).read_text("utf-8"))["kind"]
    except (OSError, ValueError, KeyError, TypeError):
        found = None
    if found != kind:
        raise HistosynthError(f"--out {out} exists and is no {kind}; give a new or an empty directory")


@contextmanager
def replace_directory(out: Path) -> Iterator[Path]:
    """A temporary directory beside `out` that takes its place once all in it is written."""
    temporary, old = (out.with_name(f".{out.name}.{tail}") for tail in ("tmp", "old"))
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
