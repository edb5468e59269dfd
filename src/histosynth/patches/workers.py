"""One job a slide: run them side by side, report each as it ends, and leave no process behind however it ends."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import CancelledError, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager

from tqdm import tqdm

from histosynth import __version__
from histosynth.errors import HistosynthError
from histosynth.patches.cluster import dask_executor, extract_on_cluster, with_absolute_paths
from histosynth.patches.extract_slide import Job, extract_slide

FinishedJob = tuple[Job, HistosynthError | None]
"""A job that has ended, and the error of a slide that could not be cut."""
_Outcome = tuple[Job, int | HistosynthError]
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} slides [{elapsed}<{remaining}{postfix}]"


def run_jobs(
    jobs: Sequence[Job], *, workers: int | None, dask: str | None = None, progress: bool
) -> Generator[FinishedJob, None, None]:
    """Cut every slide; yield each job as it ends. Closed early, it stops the processes at once.

    Args:
        jobs: one a slide.
        workers: processes; None takes one a core, 1 works in this process.
        dask: address of a Dask scheduler, whose workers then do it all.
        progress: show a bar on stderr.

    Raises:
        OSError: a part could not be written.
        HistosynthError: a process was killed, or the cluster was lost.
    """
    processes = min(workers or os.cpu_count() or 1, len(jobs))
    if dask is not None and jobs:
        outcomes = _run_on_cluster(jobs, dask)
    elif processes > 1:
        outcomes = _run_in_pool(jobs, processes)
    else:
        outcomes = ((job, _extract_or_error(job)) for job in jobs)
    started, patches = time.monotonic(), 0
    bar = tqdm(total=len(jobs), desc="cutting", bar_format=_BAR, disable=not progress or not jobs)
    with bar, closing(outcomes):
        for job, outcome in outcomes:
            if isinstance(outcome, int):
                patches += outcome
            rate = patches / max(time.monotonic() - started, 1e-3)
            bar.set_postfix_str(f"{patches} patches, {rate:.3g}/s", refresh=False)
            bar.update()
            yield job, outcome if isinstance(outcome, HistosynthError) else None


def _extract_or_error(job: Job) -> int | HistosynthError:
    """The number of patches, or the error of a slide that cannot be cut."""
    try:
        return extract_slide(job)
    except HistosynthError as error:
        return error


def _run_on_cluster(jobs: Sequence[Job], address: str) -> Generator[_Outcome, None, None]:
    with dask_executor(address) as executor:
        try:
            futures = {executor.submit(extract_on_cluster, with_absolute_paths(job), __version__): job for job in jobs}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except CancelledError as error:
            raise HistosynthError(
                f"the Dask scheduler at {address} was lost; the same command goes on once it is back"
            ) from error
        except ImportError as error:
            raise HistosynthError(f"a Dask worker lacks a package ({error}); install histosynth there") from error
        except Exception as error:
            if type(error).__name__ != "KilledWorker":  # of distributed, which may not be installed
                raise
            raise HistosynthError(
                "a slide killed several Dask workers, perhaps for want of memory; the same command goes on, with "
                "fewer threads a worker"
            ) from error
        finally:
            executor.shutdown(wait=False)


def _run_in_pool(jobs: Sequence[Job], processes: int) -> Generator[_Outcome, None, None]:
    others = set(multiprocessing.active_children())
    # Spawned, not forked: the caller may hold the threads of a numerical library.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_exit_with_parent)
    try:
        with _interrupts_blocked():
            futures = {pool.submit(_extract_or_error, job): job for job in jobs}
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
def _interrupts_blocked() -> Iterator[None]:
    """Processes started inside do not hear Ctrl-C: their parent does, and stops them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exit_with_parent() -> None:
    """End with the parent, however it ended: an orphan would write beside the command that is run again."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
