"""Slides and stores that lie elsewhere: `https://…`, `s3://…`, read in place, a part at a time, through fsspec.

A URL travels as a `Path`, as every slide does. `Path` makes one slash of two, and `url_of` gives the second back, so
a URL must not have a double slash of its own. What follows `?` (a signature, often) is part of no name.
"""

import re
from pathlib import Path
from typing import BinaryIO, cast

from histosynth.errors import HistosynthError

_URL = re.compile(r"(https?|s3|gs|az|abfs|memory):/+(?=[^/])", re.IGNORECASE)
_BLOCK = 1 << 18  # a tile has 5 to 50 kB, and its neighbors are often wanted next
_BLOCKS = 64


def url_of(path: Path) -> str | None:
    """The URL that the path was made from; None where it is a local path."""
    text = path.as_posix()
    found = _URL.match(text)
    return f"{found[1].lower()}://{text[found.end() :]}" if found else None


def file_name(path: Path) -> str:
    """The name of the file, without what follows `?` in a URL."""
    url = url_of(path)
    return path.name if url is None else url.partition("?")[0].rpartition("/")[2]


def open_binary(path: Path, *, what: str = "slide", blocks: bool = True) -> BinaryIO:
    """Open a local file, or a remote one, for reading at any place.

    Args:
        path: the file; a URL as a `Path`.
        what: what errors call it.
        blocks: fetch whole blocks and keep some; else fetch what is asked for, and no more.

    Raises:
        HistosynthError: it is remote and cannot be reached, or its server does not serve parts of a file, or the extra
            is not installed.
        OSError: it is local and cannot be opened.
    """
    url = url_of(path)
    if url is None:
        return path.open("rb")
    shown = url.partition("?")[0]
    try:
        import fsspec

        filesystem, name = fsspec.core.url_to_fs(url)
        kept = {"maxblocks": _BLOCKS} if blocks else {}
        file = filesystem.open(
            name, "rb", block_size=_BLOCK, cache_type="blockcache" if blocks else "none", cache_options=kept
        )
    except ImportError as error:
        raise HistosynthError(
            f"{what} {shown} lies elsewhere, and {error.name or error} is missing; pip install 'histosynth[remote]'"
        ) from error
    except Exception as error:  # each protocol of fsspec raises the errors of its own library
        raise HistosynthError(
            f"{what} {shown} cannot be reached ({_one_line(error)}); check the address, or copy the file here"
        ) from error
    if not file.seekable() or getattr(file, "size", None) is None:
        file.close()
        raise HistosynthError(f"the server of {shown} does not serve parts of a file; copy the file here")
    return cast(BinaryIO, file)


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
