"""Text at the boundary of the program: one spelling for what comes in, nothing hidden and no formula in what goes out.

Names come from tables, folders and outlines, and file systems and editors spell `ä` as one code point (NFC) or as two
(NFD, macOS). Both are one name here: NFC (Unicode Standard Annex 15).

A name may also contain control characters, which a terminal obeys, or begin like a formula, which a spreadsheet
executes. What is printed shows the former as `\\u001b`. A cell of a CSV that begins like a formula gets an apostrophe,
as in spreadsheets themselves, which is removed on reading; further apostrophes before it are kept.
"""

import re
import unicodedata
from collections.abc import Iterable

_HIDDEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters except line feed and tab, marks of writing direction, line separators, and undecoded bytes."""
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_ESCAPED = re.compile(r"'+[=+\-@\t\r]")
_QUOTED = re.compile(r'[",\r\n]')


def nfc(text: str) -> str:
    """Return the text with every character in its composed spelling."""
    return unicodedata.normalize("NFC", text)


def printable(text: str) -> str:
    """Return the text with hidden characters as `\\uXXXX`, which is also how JSON writes them."""
    return _HIDDEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def csv_line(cells: Iterable[object]) -> str:
    """Return a line of a CSV (RFC 4180), empty for None, in which no text is a formula."""
    texts = (_escape_formula(cell) if isinstance(cell, str) else "" if cell is None else str(cell) for cell in cells)
    quoted = ('"{}"'.format(text.replace('"', '""')) if _QUOTED.search(text) else text for text in texts)
    return ",".join(quoted) + "\n"


def unescape_formula(cell: str) -> str:
    """Return the text that `csv_line` wrote into a cell."""
    return cell[1:] if _ESCAPED.match(cell) else cell


def _escape_formula(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text
