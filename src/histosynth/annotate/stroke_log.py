"""The stroke log of one slide: an append-only text file, one JSON object per line; everything else follows from it.

`OUTLINES/<annotator>/<slide_id>.strokes.jsonl` begins with a header that names the slide and its size. Then follow the
strokes, numbered from 1, each with the id that the page gave it and its time. A stroke is on disk before the page hears
of it. A process that is killed leaves at most an incomplete last line, which is ignored, and overwritten by the next
stroke.
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from histosynth.annotate.drawing import Canvas
from histosynth.annotate.strokes import STROKE, Stroke
from histosynth.errors import HistosynthError
from histosynth.json_files import parse_json, read_bytes
from histosynth.rundir import open_unlinked

LOG_SUFFIX = ".strokes.jsonl"


class Header(BaseModel):
    """The first line."""

    model_config = ConfigDict(frozen=True)

    format: Literal["histosynth-strokes"] = "histosynth-strokes"
    version: Literal[1] = 1
    slide_id: str
    width_px: Annotated[int, Field(ge=1)]
    height_px: Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One stroke in the log."""

    number: int
    id: str
    at: datetime
    stroke: Stroke

    def to_json(self) -> bytes:
        """Return the line, with its end."""
        fields = STROKE.dump_json(self.stroke, by_alias=True)
        start = f'{{"n":{self.number},"id":"{self.id}","at":"{self.at.isoformat(timespec="milliseconds")}",'
        return start.encode() + fields[1:] + b"\n"


class StrokeLog:
    """The log of one slide, opened; `entries` are those on disk.

    Raises:
        HistosynthError: the file is damaged before its last line, or belongs to another slide.
    """

    def __init__(self, path: Path, *, slide_id: str, canvas: Canvas) -> None:
        self.path = path
        self.entries: list[Entry] = []
        self._header = Header(slide_id=slide_id, width_px=canvas.width_px, height_px=canvas.height_px)
        self._size = 0
        if path.exists():
            self._read()

    def _read(self) -> None:
        lines = read_bytes(self.path).split(b"\n")[:-1]  # what follows the last line feed is incomplete
        if not lines:
            return
        self._check_header(lines[0])
        self.entries = [self._entry(line, number) for number, line in enumerate(lines[1:], start=1)]
        self._size = sum(len(line) + 1 for line in lines)

    def _check_header(self, line: bytes) -> None:
        try:
            header = Header.model_validate_json(line)
        except ValidationError:
            raise HistosynthError(
                f"{self.path} is no stroke log of this version; move it away, or restore it from a backup"
            ) from None
        if header != self._header:
            raise HistosynthError(
                f"{self.path} belongs to another slide ({header.slide_id}, {header.width_px} x {header.height_px} px); "
                f"this one is {self._header.slide_id}, {self._header.width_px} x {self._header.height_px} px: move the "
                "log away"
            )

    def _entry(self, line: bytes, number: int) -> Entry:
        fix = "restore it from a backup, or delete this line and all below"
        where = f"{self.path}, stroke {number}"
        fields = parse_json(line, where=where, fix=fix)
        try:
            if fields.pop("n") != number:
                raise ValueError("it has another number")
            entry_id, at = str(fields.pop("id")), datetime.fromisoformat(fields.pop("at"))
            return Entry(number=number, id=entry_id, at=at, stroke=STROKE.validate_python(fields))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise HistosynthError(f"{where} is damaged ({error}); {fix}") from None

    def append(self, entry_id: str, stroke: Stroke) -> Entry:
        """Write a stroke, on disk when this returns. After any failure the file is as before.

        Raises:
            OSError: it cannot be written.
        """
        entry = Entry(number=len(self.entries) + 1, id=entry_id, at=datetime.now(UTC), stroke=stroke)
        line = entry.to_json()
        if not self._size:
            line = self._header.model_dump_json().encode() + b"\n" + line
        with open_unlinked(self.path) as file:
            try:
                file.truncate(self._size)
                file.seek(self._size)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), self._size)
                raise
        self._size += len(line)
        self.entries.append(entry)
        return entry
