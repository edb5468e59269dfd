"""One job per slide: run them in parallel, report each as it finishes, and leave no process behind in any case."""

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
"""A finished job, and the error if its slide could not be read."""
_Outcome = tuple[Job, int | HistosynthError]
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} slides [{elapsed}<{remaining}{postfix}]"


def run_jobs(
    jobs: Sequence[Job], *, workers: int | None, dask: str | None = None, progress: bool
) -> Generator[FinishedJob, None, None]:
    """Extract every slide and yield each job as it finishes; closing the generator stops the processes at once.

    Args:
        jobs: one per slide.
        workers: number of processes; None starts one per core, 1 uses this process.
        dask: address of a Dask scheduler, whose workers are used instead.
        progress: show a progress bar on stderr.

    Raises:
        OSError: a part could not be written.
        HistosynthError: a process was killed, or the connection to the cluster was lost.
    """
    # Choose where the jobs run.
    processes = min(workers or os.cpu_count() or 1, len(jobs))
    if dask is not None and jobs:
        outcomes = _run_on_cluster(jobs, dask)
    elif processes > 1:
        outcomes = _run_in_pool(jobs, processes)
    else:
        outcomes = ((job, _extract_or_error(job)) for job in jobs)
    # Report each job as it finishes.
    started, patches = time.monotonic(), 0
    bar = tqdm(total=len(jobs), desc="extracting", bar_format=_BAR, disable=not progress or not jobs)
    with bar, closing(outcomes):
        for job, outcome in outcomes:
            if isinstance(outcome, int):
                patches += outcome
            rate = patches / max(time.monotonic() - started, 1e-3)
            bar.set_postfix_str(f"{patches} patches, {rate:.3g}/s", refresh=False)
            bar.update()
            yield job, outcome if isinstance(outcome, HistosynthError) else None


def _extract_or_error(job: Job) -> int | HistosynthError:
    """Extract a slide; return the number of patches, or the error of a slide that cannot be read."""
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
                f"the connection to the Dask scheduler at {address} was lost; rerun the command to resume"
            ) from error
        except ImportError as error:
            raise HistosynthError(f"a Dask worker lacks a package ({error}); install histosynth on it") from error
        except Exception as error:
            if type(error).__name__ != "KilledWorker":  # of distributed, which may not be installed
                raise
            raise HistosynthError(
                "a slide killed several Dask workers, perhaps for lack of memory; rerun the command to resume, with "
                "fewer threads per worker"
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
            "a worker process was killed, perhaps for lack of memory; rerun the command to resume, with fewer --workers"
        ) from error
    except BaseException:
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Start processes inside that ignore Ctrl-C; their parent handles it and stops them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exit_with_parent() -> None:
    """Exit when the parent ends for any reason: an orphan would write alongside the command that is rerun."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
