"""The column `source`: `real` for tissue, else the name of the generator.

A store holds patches of one kind, and its manifest states which: `synthetic` is a property of the store. A name alone
makes no patch real, because a run directory or another program's folder may have any name. Names are therefore checked
where they enter: at training, in the metadata of weights, and in `pack`.
"""

from collections.abc import Mapping
from typing import Any

from histosynth.errors import HistosynthError

REAL = "real"
"""The source of real patches, which no generator may be called."""
_MAX_BYTES = 200  # the name is part of file names, of which file systems allow 255 bytes


def made_by_model(manifest: Mapping[str, Any], source: str) -> bool:
    """Return True if a patch is synthetic: the manifest of its store states it, or its source is a generator."""
    return bool(manifest.get("synthetic")) or source != REAL


def check_generator(name: str, *, where: str) -> str:
    """Return the name of a generator if it can be a source, and part of a file name.

    Args:
        name: as the user or a file states it.
        where: its place, which begins the error.

    Raises:
        HistosynthError: it is `real`, empty, too long, or has characters that are invisible or separate folders.
    """
    if name.casefold() == REAL:
        problem = "that is the source of real patches"
    elif not name.strip():
        problem = "the name is empty"
    elif not name.isprintable() or any(character in name for character in "/\\"):
        problem = "a name has no slash and no invisible character"
    elif len(name.encode()) > _MAX_BYTES:
        problem = f"it is longer than {_MAX_BYTES} bytes"
    else:
        return name
    shown = name if name.isprintable() else ascii(name)[1:-1]
    raise HistosynthError(f"{where}: a generator cannot be called '{shown[:40]}': {problem}; choose another name")
