"""Writing beside training: one thread, one job at a time, and no error lost."""

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType

from histosynth.errors import HistosynthError


@contextmanager
def warn_if_unwritten(what: str) -> Iterator[None]:
    """Where the disk refuses `what` is written within, warn and go on."""
    try:
        yield
    except OSError as error:
        warnings.warn(f"{what} could not be written ({error.strerror or error}); training goes on", stacklevel=3)


class BackgroundWriter:
    """Runs jobs in a thread of its own. Leaving it waits for the last."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._job: Future[None] | None = None
        self._what = ""

    def submit(self, job: Callable[[], None], *, what: str) -> None:
        """Start a job once the one before has ended; `what` it writes, in words, for a warning."""
        self.wait()
        self._job, self._what = self._pool.submit(job), what

    def poll(self) -> None:
        """Where the job in flight has ended, say how, as `wait` does."""
        if self._job is not None and self._job.done():
            self.wait()

    def wait(self, *, needed: bool = False) -> None:
        """Wait for the job in flight.

        A disk that refuses is a warning, as what was written before still stands.

        Raises:
            HistosynthError: the disk refused, and the job was `needed`.
        """
        job, self._job = self._job, None
        if job is None:
            return
        try:
            job.result()
        except OSError as error:
            said = f"{self._what} could not be written ({error.strerror or error}); those before it are untouched"
            if needed:
                raise HistosynthError(f"{said}: mend that and run the same command again") from error
            warnings.warn(f"{said}, and training goes on", stacklevel=2)

    def __enter__(self) -> "BackgroundWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.wait()
        finally:
            self._pool.shutdown()
