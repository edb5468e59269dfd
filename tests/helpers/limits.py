"""Limits per input for tests of files from others: 30 s, 2 GB, and an end in success or in an error of one line.

A limit that is exceeded fails the test by the name of the input. A hang inside a library, where no signal handler of
Python can run, ends the process with the stack of each thread.
"""

import faulthandler
import re
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TextIO

import pytest

from histosynth.errors import HistosynthError

SECONDS, MEMORY_BYTES = 30.0, 2 << 30
MAX_MESSAGE = 2000
hang_report: TextIO | int = sys.__stderr__ or 2
"""Where the stacks of a hang are written; pytest's own standard error, which a test's output does not reach."""

_STATUS = Path("/proc/self/status")
_NO_MEMORY = re.compile("allocate|out of memory|malloc", re.IGNORECASE)


@contextmanager
def bounded(name: str, *, seconds: float | None = None, memory_bytes: int | None = None) -> Iterator[None]:
    """Fail the test if what is inside takes too long, and let it have this much more memory than before.

    Where memory is not enough, Python and its libraries raise MemoryError, also for memory that would remain unused.
    """
    with _memory_limit(memory_bytes or MEMORY_BYTES), _time_limit(name, seconds or SECONDS):
        yield


def attempt(read: Callable[[], object]) -> str | None:
    """Return None after success, and the message of an error that a user can fix; anything else fails the test."""
    try:
        read()
    except HistosynthError as error:
        message, cause = str(error), error.__cause__ or error.__context__
        assert 0 < len(message) <= MAX_MESSAGE, f"a message of {len(message)} characters: {message[:200]}"
        assert not isinstance(cause, MemoryError), f"too much memory: {message}"
        assert not _NO_MEMORY.search(str(cause)), f"too much memory: {message}"
        return message
    return None


@contextmanager
def _memory_limit(more_bytes: int) -> Iterator[None]:
    if not _STATUS.exists():  # not Linux
        yield
        return
    (used_kb,) = re.findall(r"VmData:\s+(\d+)", _STATUS.read_text())
    before, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (int(used_kb) * 1024 + more_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, hard))


@contextmanager
def _time_limit(name: str, seconds: float) -> Iterator[None]:
    def stop(signum: int, frame: FrameType | None) -> None:
        pytest.fail(f"{name} takes more than {seconds:g} s")  # no Exception, which the program might catch

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(2 * seconds, exit=True, file=hang_report)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
