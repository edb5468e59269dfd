"""Exceptions: `HistosynthError` for mistakes that a user can fix, and `Stopped` for the end by a signal."""

from collections.abc import Iterable
from difflib import get_close_matches

_MAX_MESSAGE = 2000


class HistosynthError(Exception):
    """A mistake in the input, the settings or the named files: problem, place and fix in one line; exit code 2."""

    def __str__(self) -> str:
        line = " ".join(super().__str__().split())  # quoted messages of libraries may have several lines
        line = line.encode("utf-8", "backslashreplace").decode()  # and names of files may not be valid UTF-8
        if len(line) > _MAX_MESSAGE:  # it quotes a file; the place is at its beginning, the fix at its end
            line = f"{line[: _MAX_MESSAGE - 503]} … {line[-500:]}"
        return line


class Stopped(Exception):  # noqa: N818 - it is not an error
    """The end by a signal, with everything saved; the exit code is 128 + the number of the signal, as in shells."""

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.signum = signum


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for an error message, or an empty string if no known name is similar."""
    matches = get_close_matches(name, list(known), n=1)
    return f" (did you mean '{matches[0]}'?)" if matches else ""
