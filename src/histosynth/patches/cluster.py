"""Extraction on an existing Dask cluster, whose workers read slides from a shared disk and write parts to it.

A job may run twice: Dask reassigns it when a worker dies, or when a worker stops answering but continues. Each run
therefore writes to a unique name and renames the complete part into place, and an existing part is not written again.
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
    """Connect to the scheduler at `address`; on exit, submitted jobs that have not started are cancelled.

    Raises:
        HistosynthError: the extra `cluster` is not installed, or no scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise HistosynthError("--dask needs the extra 'cluster'; pip install 'histosynth[cluster]'") from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # a lost scheduler is reported in one line by us
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
    """Raise, before any work begins, if no scheduler answers or a number of local workers is given."""
    if workers is not None:
        raise HistosynthError("--dask uses the workers of the cluster; leave out --workers")
    with dask_executor(address):
        pass


def with_absolute_paths(job: Job) -> Job:
    """Return the job for a process in another directory. A slide that is not a local file (a URL) keeps its name."""
    slide = job.slide.absolute() if job.slide.exists() else job.slide
    outline = job.outline.absolute() if job.outline else None
    return replace(job, slide=slide, outline=outline, part=job.part.absolute())


def extract_on_cluster(job: Job, version: str) -> int | HistosynthError:
    """Extract a slide on a worker; return the number of patches, or the error of a slide that cannot be read.

    Raises:
        HistosynthError: the version of the worker is not `version`, or it cannot access the slide or the store.
        OSError: the part cannot be written.
    """
    if version != __version__:
        raise HistosynthError(
            f"a Dask worker has histosynth {__version__}, this command {version}; install the same version"
        )
    for path in (job.slide, job.part.parent):
        if path.is_absolute() and not path.exists():
            raise HistosynthError(
                f"a Dask worker cannot access {path}; put slides and store on a disk that all workers share"
            )
    if part_fingerprint(job.part) == job.fingerprint:
        return int(part_record(job.part)["patches"])
    temporary = job.part.with_name(f".{job.part.name}.{uuid.uuid4().hex}.tmp")
    try:
        patches = extract_slide(replace(job, part=temporary))
    except HistosynthError as error:
        return error
    temporary.replace(job.part)
    return patches
