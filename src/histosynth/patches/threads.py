"""A few threads inside one process, for work that lets go of Python's lock: decoders, scaling, encoders."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import parent_process
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_MOST = 4


def in_threads(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Results in the order of the items, a few at a time: decoders, scaling and encoders let go of Python's lock.

    Beside other processes, one a core, there is no core left to share: there each item waits for the one before.
    """
    threads = 1 if parent_process() is not None else min(_MOST, _cores())
    if threads == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(function, items)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
