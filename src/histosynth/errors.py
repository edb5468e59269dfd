"""The one error that a user can mend: it says what was found, where, and what to do about it."""

from collections.abc import Iterable
from difflib import get_close_matches


class HistosynthError(Exception):
    """A mistake in the input, the settings or the files named. Its text is one line; the command line exits with 2."""

    def __str__(self) -> str:
        return " ".join(super().__str__().split())  # libraries' messages, quoted inside, may have several lines


class Stopped(Exception):  # noqa: N818 - it is none
    """A signal asked for the end, and all is saved. The command line exits with 128 + its number, as a shell has it."""

    def __init__(self, signum: int, said: str) -> None:
        super().__init__(said)
        self.signum = signum


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A tail for an error message: ` (did you mean 'x'?)`, or nothing where no known name is near."""
    found = get_close_matches(name, list(known), n=1)
    return f" (did you mean '{found[0]}'?)" if found else ""
