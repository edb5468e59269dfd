"""The one error that a user can mend: it says what was found, where, and what to do about it."""


class HistosynthError(Exception):
    """A mistake in the input, the settings or the files named. Its text is one line; the command line exits with 2."""
