"""The limits of the tests with damaged files take effect."""

import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import repeat
from pathlib import Path

import pytest

import limits
from histosynth.errors import HistosynthError
from limits import MEMORY_BYTES, attempt, bounded
from mutations import JsonMutations, Mutations

LINUX = Path("/proc/self/status").exists()
only_linux = pytest.mark.skipif(not LINUX, reason="memory is limited on Linux only")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Check that each test leaves the limits and the handler as they were."""
    before = state()
    yield
    assert state() == before


def state() -> tuple[object, ...]:
    handlers = [signal.getsignal(signum) for signum in (signal.SIGALRM, signal.SIGPROF)]
    timers = [signal.getitimer(timer) for timer in (signal.ITIMER_REAL, signal.ITIMER_PROF)]
    return resource.getrlimit(resource.RLIMIT_DATA), handlers, timers


@only_linux
def test_memory_above_the_limit_is_refused() -> None:
    with bounded("enough"):
        bytearray(MEMORY_BYTES // 8)
    with pytest.raises(MemoryError), bounded("too much"):
        bytearray(2 * MEMORY_BYTES)


def wait_for_a_minute() -> None:
    for _ in range(60):
        with suppress(Exception):  # as a program may
            time.sleep(1)


def compute_for_a_minute() -> None:
    end = time.process_time() + 60
    while time.process_time() < end:
        with suppress(Exception):
            sum(range(1000))


@pytest.mark.parametrize(
    ("use", "limit"), [(wait_for_a_minute, r"1 s"), (compute_for_a_minute, r"0\.1 s of processor time")]
)
def test_an_input_that_takes_too_long_fails_by_its_name(use: Callable[[], None], limit: str) -> None:
    with (
        pytest.raises(pytest.fail.Exception, match=f"input 7 takes more than {limit}$"),
        bounded("input 7", seconds=0.1),
    ):
        use()


HANG = """
from itertools import repeat
from limits import bounded
with bounded("x", seconds=0.2):
    all(repeat(True))  # in C, for ever, without signal handlers
"""


def test_a_hang_in_a_library_ends_the_process_with_its_stack() -> None:
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path}\n{HANG}"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 1
    assert "Timeout" in run.stderr
    assert "line 6 in <module>" in run.stderr


def process(mutations: Mutations, use: Callable[[], object]) -> None:
    for _ in mutations:
        use()


@pytest.mark.parametrize("kind", [Mutations, JsonMutations])
def test_each_mutation_is_within_the_limits(kind: type[Mutations], monkeypatch: pytest.MonkeyPatch) -> None:
    mutations = kind(b'{"a": 1}', count=3)
    if LINUX:
        with pytest.raises(MemoryError):
            process(mutations, lambda: bytearray(2 * MEMORY_BYTES))
    monkeypatch.setattr(limits, "SECONDS", 0.1)
    with pytest.raises(pytest.fail.Exception, match="mutation 0 takes more than"):
        process(mutations, compute_for_a_minute)


def fail(message: str, cause: Exception | None = None) -> Callable[[], None]:
    def read() -> None:
        raise HistosynthError(message) from cause

    return read


def test_an_attempt_accepts_success_and_one_line() -> None:
    assert attempt(lambda: None) is None
    assert attempt(fail("x is damaged; make it again", ValueError("y"))) == "x is damaged; make it again"


@pytest.mark.parametrize(
    "read",
    [
        fail(""), fail("x", MemoryError()),
        fail("x", OSError("malloc of size 4096 failed")), lambda: next(iter(())), lambda: next(repeat(1)).x,
    ],
)  # fmt: skip
def test_an_attempt_fails_on_everything_else(read: Callable[[], object]) -> None:
    with pytest.raises((AssertionError, StopIteration, AttributeError)):
        attempt(read)
