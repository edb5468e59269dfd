"""Writing in the background of training: one thread, one job at a time, and every error reported."""

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType

from histosynth.errors import HistosynthError


@contextmanager
def warn_if_unwritten(what: str) -> Iterator[None]:
    """Turn an error of the disk while `what` is written into a warning."""
    try:
        yield
    except OSError as error:
        warnings.warn(f"{what} could not be written ({error.strerror or error}); training continues", stacklevel=3)


class BackgroundWriter:
    """Runs writing jobs in a separate thread; the context waits for the last job at its end."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._job: Future[None] | None = None
        self._what = ""

    def submit(self, job: Callable[[], None], *, what: str) -> None:
        """Start a job once the previous one has ended; `what` names its output in warnings."""
        self.wait()
        self._job, self._what = self._pool.submit(job), what

    def poll(self) -> None:
        """Report the outcome of the current job, as `wait` does, if it has ended."""
        if self._job is not None and self._job.done():
            self.wait()

    def wait(self, *, required: bool = False) -> None:
        """Wait for the current job.

        An error of the disk is a warning, because earlier files are still intact.

        Raises:
            HistosynthError: the disk reported an error, and the job was `required`.
        """
        job, self._job = self._job, None
        if job is None:
            return
        try:
            job.result()
        except OSError as error:
            problem = f"{self._what} could not be written ({error.strerror or error}); earlier ones are intact"
            if required:
                raise HistosynthError(f"{problem}: fix this and rerun the command") from error
            warnings.warn(f"{problem}, and training continues", stacklevel=2)

    def __enter__(self) -> "BackgroundWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.wait()
        finally:
            self._pool.shutdown()
