"""A few threads in one process, for work that releases the global interpreter lock: codecs, scaling, file reading."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import parent_process
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_MAX_THREADS = 4


def map_in_threads(
    function: Callable[[T], R], items: Iterable[T], *, threads: int | None = None, in_flight: int | None = None
) -> Iterator[R]:
    """Yield the results in the order of the items, with `in_flight` items in flight (None: two per thread).

    A worker process, one of which runs per core, has no other core to use: it works through the items in sequence,
    unless the number of threads is given.
    """
    if threads is None:
        threads = 1 if parent_process() is not None else min(_MAX_THREADS, available_cores())
    if threads == 1:
        yield from map(function, items)
        return
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > (in_flight or 2 * threads):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
