"""A few threads inside one process, for work that lets go of Python's lock: decoders, scaling, encoders, reading."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import parent_process
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_MOST = 4


def map_in_threads(function: Callable[[T], R], items: Iterable[T], *, threads: int | None = None) -> Iterator[R]:
    """Results in the order of the items, a few at a time: decoders, scaling and encoders let go of Python's lock.

    Beside other processes, one a core, there is no core left to share: there each item waits for the one before, unless
    the number of threads is given.
    """
    if threads is None:
        threads = 1 if parent_process() is not None else min(_MOST, available_cores())
    if threads == 1:
        yield from map(function, items)
        return
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
