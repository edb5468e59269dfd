"""Remote slides and stores (`https://…`, `s3://…`), read in place and in parts through fsspec.

A URL is passed as a `Path`, like any slide. `Path` merges two slashes into one, and `url_of` restores the second, so a
URL must not contain another double slash. The part after `?` (often a signature) does not belong to the file name.
"""

import re
from pathlib import Path
from typing import BinaryIO, cast

from histosynth.errors import HistosynthError

_URL = re.compile(r"(https?|s3|gs|az|abfs|memory):/+(?=[^/])", re.IGNORECASE)
_BLOCK = 1 << 18  # a tile has 5 to 50 kB, and its neighbors are often read next
_BLOCKS = 64


def url_of(path: Path) -> str | None:
    """Return the URL that the path was made from, None for a local path."""
    text = path.as_posix()
    match = _URL.match(text)
    return f"{match[1].lower()}://{text[match.end() :]}" if match else None


def file_name(path: Path) -> str:
    """Return the name of the file, without the part after `?` of a URL."""
    url = url_of(path)
    return path.name if url is None else url.partition("?")[0].rpartition("/")[2]


def open_binary(path: Path, *, what: str = "slide", blocks: bool = True) -> BinaryIO:
    """Open a local or remote file for reading at any position.

    Args:
        path: the file; a URL as a `Path`.
        what: the name of the file's kind in error messages.
        blocks: fetch whole blocks and cache some of them; otherwise fetch only the bytes that are read.

    Raises:
        HistosynthError: the file is remote and cannot be reached, its server does not serve parts of a file, or the
            extra is not installed.
        OSError: the file is local and cannot be opened.
    """
    url = url_of(path)
    if url is None:
        return path.open("rb")
    # Open the remote file.
    address = url.partition("?")[0]  # without a signature
    try:
        import fsspec

        filesystem, name = fsspec.core.url_to_fs(url)
        cache_options = {"maxblocks": _BLOCKS} if blocks else {}
        file = filesystem.open(
            name, "rb", block_size=_BLOCK, cache_type="blockcache" if blocks else "none", cache_options=cache_options
        )
    except ImportError as error:
        raise HistosynthError(
            f"{what} {address} is remote, and {error.name or error} is missing; pip install 'histosynth[remote]'"
        ) from error
    except Exception as error:  # each protocol of fsspec raises the errors of its own library
        raise HistosynthError(
            f"{what} {address} cannot be reached ({_one_line(error)}); check the address, or download the file"
        ) from error
    # Only a server that serves parts of a file can be read at any position.
    if not file.seekable() or getattr(file, "size", None) is None:
        file.close()
        raise HistosynthError(f"the server of {address} does not serve parts of a file; download the file")
    return cast(BinaryIO, file)


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
