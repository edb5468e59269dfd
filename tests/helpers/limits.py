"""Limits per input for tests of files from others: 30 s, 2 GB, and an end in success or in an error of one line.

The time is that of the processor, so that a busy machine fails no test; the clock may run ten times as long, which ends
what waits for ever. A limit that is exceeded fails the test by the name of the input. A hang inside a library, where no
signal handler of Python can run, ends the process with the stack of each thread.
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
CLOCK = 10  # seconds by the clock per second of the processor
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
        assert message, "an error without a message"
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
        limit = f"{seconds:g} s of processor time" if signum == signal.SIGPROF else f"{CLOCK * seconds:g} s"
        pytest.fail(f"{name} takes more than {limit}")  # no Exception, which the program might catch

    before = [signal.signal(signum, stop) for signum in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, CLOCK * seconds)
    faulthandler.dump_traceback_later((CLOCK + 1) * seconds, exit=True, file=hang_report)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
            signal.setitimer(timer, 0)
        for signum, handler in zip((signal.SIGPROF, signal.SIGALRM), before, strict=True):
            signal.signal(signum, handler)
