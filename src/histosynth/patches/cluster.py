"""Slides on a Dask cluster that is there already: its workers read the slides and write the parts on a shared disk.

A job may run twice: Dask gives it to another worker when one dies, or no longer answers and yet goes on. So each run
writes under a name of its own and renames the whole part into place, and a part that is there is not made again.
"""

import logging
import uuid
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace

from histosynth import __version__
from histosynth.errors import HistosynthError
from histosynth.patches.extract_slide import Job, extract_slide
from histosynth.store.part import part_fingerprint, part_record

_CONNECT_SECONDS = 5


@contextmanager
def dask_executor(address: str) -> Iterator[Executor]:
    """Connect to the scheduler at `address`; what was submitted and has not begun is cancelled at the end.

    Raises:
        HistosynthError: the extra `cluster` is not installed, or no scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise HistosynthError("--dask needs the extra 'cluster'; pip install 'histosynth[cluster]'") from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # a scheduler that is lost is told in our one line
    try:
        client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False, name="histosynth")
    except (OSError, ValueError, TypeError) as error:
        raise HistosynthError(
            f"no Dask scheduler answers at '{address}' within {_CONNECT_SECONDS} seconds; give the address that it "
            "prints when it starts, such as tcp://host:8786"
        ) from error
    try:
        yield client.get_executor(pure=False)
    finally:
        client.close(timeout=_CONNECT_SECONDS)


def require_cluster(address: str, *, workers: int | None) -> None:
    """Raise before any work begins unless a scheduler answers, and nobody counts workers here."""
    if workers is not None:
        raise HistosynthError("--dask takes the workers of the cluster; leave --workers out")
    with dask_executor(address):
        pass


def with_absolute_paths(job: Job) -> Job:
    """The same job for a process in another directory. A slide that is no file here (a URL) keeps its name."""
    slide = job.slide.absolute() if job.slide.exists() else job.slide
    outline = job.outline.absolute() if job.outline else None
    return replace(job, slide=slide, outline=outline, part=job.part.absolute())


def extract_on_cluster(job: Job, version: str) -> int | HistosynthError:
    """Cut a slide on a worker: the number of its patches, or the error of a slide that cannot be cut.

    Raises:
        HistosynthError: the worker has another version than `version`, or does not see the slide or the store.
        OSError: the part cannot be written.
    """
    if version != __version__:
        raise HistosynthError(f"a Dask worker has histosynth {__version__}, this command {version}; install the same")
    for path in (job.slide, job.part.parent):
        if path.is_absolute() and not path.exists():
            raise HistosynthError(f"a Dask worker does not see {path}; put slides and store on a disk that all share")
    if part_fingerprint(job.part) == job.fingerprint:
        return int(part_record(job.part)["patches"])
    own = job.part.with_name(f".{job.part.name}.{uuid.uuid4().hex}.tmp")
    try:
        patches = extract_slide(replace(job, part=own))
    except HistosynthError as error:
        return error
    own.replace(job.part)
    return patches
