"""Preparing what the next step needs in a thread, while the current step is computed."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """A function of the position in an endless sequence, evaluated one step ahead.

    Args:
        make: the function; it runs in another thread, or in that of the caller for a position that does not follow the
            previous one.
        stride: distance between the positions of consecutive steps.
    """

    def __init__(self, make: Callable[[int], T], *, stride: int) -> None:
        self._make, self._stride = make, stride
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._next: tuple[int, Future[T]] | None = None

    def take(self, position: int) -> T:
        """Return the value at a position, and start to prepare the one after it. Errors reach the caller."""
        prepared, following = self._next, position + self._stride
        self._next = following, self._pool.submit(self._make, following)
        if prepared is not None and prepared[0] == position:
            return prepared[1].result()
        return self._make(position)
