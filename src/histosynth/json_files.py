"""JSON, text and bytes from files that somebody else may have written: read in bounds, and checked by pydantic models.

Whatever the file holds, a caller gets content of the type that it asked for, or one line that names the file and the
remedy.
"""

import json
import os
import stat
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from histosynth.errors import HistosynthError

_MAX_BYTES = 256 << 20  # a manifest of a million patches has a third of it
T = TypeVar("T")


def read_bytes(path: Path) -> bytes:
    """Read a file that is to be kept in memory.

    Raises:
        HistosynthError: it is no regular file, or too large.
        FileNotFoundError: it does not exist.
    """
    # A named pipe would otherwise block until somebody writes to it.
    with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise HistosynthError(f"{path} is not a regular file; name a file")
        if facts.st_size > _MAX_BYTES:
            raise HistosynthError(f"{path} has {facts.st_size:,} bytes, more than any file of its kind; check the path")
        return file.read(_MAX_BYTES)


def read_text(path: Path) -> str:
    """Read a UTF-8 text file; see `read_bytes`.

    Raises:
        HistosynthError: it is not UTF-8.
    """
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise HistosynthError(
            f"{path} is damaged: it is not UTF-8 text ({error.reason} at byte {error.start})"
        ) from error


def parse_json(text: str | bytes, *, where: object, fix: str) -> Any:
    """Parse JSON; `where` names its place, and `fix` the remedy, in errors.

    Raises:
        HistosynthError: it is no JSON, or nested more than 200 levels deep.
    """
    try:
        return from_json(text)
    except ValueError as error:
        raise HistosynthError(f"{where} is damaged ({error}); {fix}") from error


def check(content: Any, expected: type[T] | TypeAdapter[T], *, where: object, fix: str) -> T:
    """Return the content as the model (or other type) that is expected here.

    Raises:
        HistosynthError: a field is missing, or of another type or out of range.
    """
    adapter = expected if isinstance(expected, TypeAdapter) else TypeAdapter(expected)
    try:
        return adapter.validate_python(content)
    except ValidationError as error:
        raise HistosynthError(f"{where} is damaged ({first_problem(error)}); {fix}") from error


def read_facts(path: Path, expected: type[T], *, kind: str, verb: str, version: int | None = None) -> tuple[T, str]:
    """Read the results that `histosynth <verb>` writes into a directory, such as `report.json`; also return the text.

    Raises:
        HistosynthError: they are absent, damaged, of another kind or `schema_version`, or not what is expected.
    """
    try:
        text = read_text(path)
    except (FileNotFoundError, NotADirectoryError):
        raise HistosynthError(
            f"{path.parent} is not a {kind}: it has no {path.name}; make one with `histosynth {verb}`"
        ) from None
    fix = f"{verb} again"
    facts = parse_json(text, where=path, fix=fix)
    if not isinstance(facts, dict) or facts.get("kind") != kind:
        raise HistosynthError(f"{path} is not a {kind} of histosynth; make one with `histosynth {verb}`")
    if (actual := facts.get("schema_version")) != version:
        raise HistosynthError(
            f"{path} has schema version {str(actual)[:20]}, but this histosynth reads {version}; {fix}"
        )
    require_json(facts, where=path, fix=fix)
    return check(facts, expected, where=path, fix=fix), text


def require_json(content: Any, *, where: object, fix: str) -> None:
    """Check that content can be written as JSON again, for what quotes it.

    Raises:
        HistosynthError: a number is not finite.
    """
    try:
        json.dumps(content, allow_nan=False)
    except ValueError as error:
        raise HistosynthError(f"{where} is damaged ({error}); {fix}") from error


def first_problem(error: ValidationError) -> str:
    """Return the place and the message of the first problem."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))[:80]
    return f"{place}: {first['msg']}" if place else first["msg"]
