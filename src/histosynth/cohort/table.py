"""Reading of CSV tables: comma, semicolon or tab; UTF-8 or a spreadsheet's UTF-16; a header; `#` lines are skipped.

The delimiter is the most frequent one in the header. Quoted cells may contain delimiters, line breaks and doubled
quotes (RFC 4180); spaces around a cell are stripped. A row may be shorter than the header, but not longer: a longer one
usually contains an unquoted comma in a text, and the rest of that text would be lost silently. Text is read in one
spelling (NFC), and the apostrophe before what would be a formula is removed (`histosynth.text`).
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from histosynth.errors import HistosynthError
from histosynth.json_files import read_bytes
from histosynth.text import nfc, unescape_formula

SLIDE_COLUMNS = ("slide_id", "slide", "slide_name", "filename", "file_name", "file", "image", "image_id")
PATIENT_COLUMNS = (
    "patient_id",
    "patient",
    "case_id",
    "case",
    "case_submitter_id",
    "submitter_id",
    "participant",
    "barcode",
)
_MISSING = {"", "na", "n/a", "nan", "none", "null", "[not available]"}
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_DELIMITERS = ",\t;"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A header and rows. `name`, the purpose and path of the table, begins every error about it."""

    name: str
    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    """Line number (the first line of the file is 1) and cells of each row."""

    def find_column(self, names: Sequence[str]) -> int | None:
        """Return the index of the first of `names` in the header; case, spaces, dots and dashes are ignored.

        Raises:
            HistosynthError: the header has that name twice.
        """
        known = [re.sub(r"[\s.\-/]+", "_", name.lower()) for name in self.header]
        match = next((name for name in names if name in known), None)
        if match is None:
            return None
        if known.count(match) > 1:
            raise HistosynthError(f"{self.name}: two columns are called '{match}'; rename or delete one")
        return known.index(match)

    def require_column(self, names: Sequence[str], *, what: str) -> int:
        """Return the index as `find_column` does, or raise if the column is missing; `what` names it in the error."""
        column = self.find_column(names)
        if column is None:
            raise HistosynthError(
                f"{self.name}: no {what} column among {', '.join(self.header)}; call one of "
                f"them {', '.join(names)} in the first line"
            )
        return column


def cell_text(cells: Sequence[str], column: int | None) -> str | None:
    """Return the text of a cell; None where the column is absent or the cell is empty, NA, None and the like."""
    text = cells[column].strip() if column is not None and column < len(cells) else ""
    return None if text.lower() in _MISSING else text


def read_table(path: Path, *, what: str, example: str) -> Table:
    """Read a table.

    Args:
        path: the file.
        what: purpose of the table, as errors name it, such as `labels`.
        example: a valid header, for the error about an empty file.

    Raises:
        HistosynthError: unreadable, not text, empty, an unclosed quote, or a row longer than the header.
    """
    name = f"{what} {path}"
    records = _records(_text(path, name=name), name=name)
    try:
        _, header = next(records)
    except StopIteration:
        raise HistosynthError(f"{name} is empty; add a header such as {example}") from None
    while header and not header[-1]:
        header = header[:-1]
    rows = []
    for line, cells in records:
        if extra := [text for text in cells[len(header) :] if text]:
            raise HistosynthError(
                f"{name}, line {line}: '{extra[0]}' is beyond the {len(header)} columns of the header; "
                "quote texts that contain a delimiter"
            )
        if any(cells):
            rows.append((line, cells))
    return Table(name=name, path=path, header=header, rows=tuple(rows))


def _text(path: Path, *, name: str) -> str:
    try:
        data = read_bytes(path)
    except OSError as error:
        raise HistosynthError(f"{name} cannot be read: {error.strerror}; give the path of a CSV file") from error
    try:
        text = data.decode("utf-16" if data.startswith(_UTF16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise HistosynthError(f"{name} is not UTF-8 text (byte {error.start}); save it as CSV UTF-8") from error
    if "\0" in text:
        raise HistosynthError(f"{name} is not text (it holds zero bytes); save it as CSV UTF-8")
    return nfc(text)


def _records(text: str, *, name: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the stripped cells of each record, with the line in which it begins."""
    lines = list(io.StringIO(text, newline=""))  # ends at \n, \r\n or \r alone, nowhere else
    first = next((line for line in lines if not _is_skipped(line)), "")
    begin, fresh = 0, True

    def feed() -> Iterator[str]:
        nonlocal begin, fresh
        for number, line in enumerate(lines, 1):
            if fresh and _is_skipped(line):
                continue
            if fresh:
                begin, fresh = number, False
            yield line

    try:
        for cells in csv.reader(feed(), delimiter=max(_DELIMITERS, key=first.count), strict=True):
            yield begin, tuple(unescape_formula(text.strip()) for text in cells)
            fresh = True
    except csv.Error as error:
        raise HistosynthError(
            f"{name} is not a CSV table: {error} in the row that begins in line {begin}; close its quotes"
        ) from error


def _is_skipped(line: str) -> bool:
    return not line.strip() or line.startswith("#")
