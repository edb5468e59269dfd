"""One process a slide: run jobs side by side, report each as it ends, and leave no process behind however it ends."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager

from tqdm import tqdm

from histosynth.errors import HistosynthError
from histosynth.patches.cut import Job, cut

Ended = tuple[Job, HistosynthError | None]
"""A job that has ended, and the error of a slide that could not be cut."""


def run_jobs(jobs: Sequence[Job], *, workers: int | None, progress: bool) -> Generator[Ended, None, None]:
    """Cut every slide; yield each job as it ends. Closed early, it stops the processes at once.

    Args:
        jobs: one a slide.
        workers: processes; None takes one a core, 1 works in this process.
        progress: show a bar on stderr.

    Raises:
        OSError: a part could not be written.
        HistosynthError: a process was killed.
    """
    processes = min(workers or os.cpu_count() or 1, len(jobs))
    ended = ((job, _attempt(job)) for job in jobs) if processes <= 1 else _pooled(jobs, processes)
    bar = tqdm(total=len(jobs), desc="cutting", unit="slide", disable=not progress or not jobs)
    with bar, closing(ended):
        for job, error in ended:
            bar.update()
            yield job, error


def _attempt(job: Job) -> HistosynthError | None:
    try:
        cut(job)
    except HistosynthError as error:
        return error
    return None


def _pooled(jobs: Sequence[Job], processes: int) -> Generator[Ended, None, None]:
    others = set(multiprocessing.active_children())
    # Spawned, not forked: the caller may hold the threads of a numerical library.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_watch_parent)
    try:
        with _interrupts_held():
            futures = {pool.submit(_attempt, job): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise HistosynthError(
            "a worker process was killed, perhaps for want of memory; the same command goes on, with fewer --workers"
        ) from error
    except BaseException:
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Processes started inside do not hear Ctrl-C: their parent does, and stops them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _watch_parent() -> None:
    """End with the parent, however it ended: an orphan would write beside the command that is run again."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
