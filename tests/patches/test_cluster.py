"""Extraction on a Dask cluster: on this machine, over the loopback interface, through the command line."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from histosynth.config import PatchSettings
from histosynth.errors import HistosynthError
from histosynth.normalization.staining import build_normalization
from histosynth.patches.cluster import extract_on_cluster
from histosynth.patches.extract import extract
from histosynth.patches.extract_slide import Job
from histosynth.patches.plan import plan
from histosynth.store.part import part_fingerprint

pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")

CLUSTER = """
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster:
        workers = [str(worker.pid) for worker in cluster.workers.values()]
        print(cluster.scheduler_address, *workers, flush=True)
        input()
"""
Content = Callable[[Path], dict[str, bytes]]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[int]]]:
    """Return the address of the scheduler and the process ids of two workers."""
    script = tmp_path / "cluster.py"
    script.write_text(CLUSTER)
    process = subprocess.Popen(
        [sys.executable, script.name],
        cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    address, *workers = process.stdout.readline().split()
    yield address, [int(worker) for worker in workers]
    try:
        process.communicate("\n", timeout=20)
    finally:
        process.kill()


def verb(cohort: Any, out: Path, *more: str, **files: Any) -> "subprocess.Popen[str]":
    given = [cohort.slides, "--outlines", cohort.outlines, "--labels", cohort.labels, "--out", out, "--mpp", 0.5]
    settings = ["--set", "patches.region_px=32", "--set", "patches.region_mpp=0.5", "--set", "patches.patch_px=16"]
    words = [sys.executable, "-m", "histosynth", "patches", *map(str, given), *settings, *more]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **files)


@pytest.mark.slow
def test_store_is_the_same_when_a_worker_is_killed(
    draw_cohort: Any, tmp_path: Path, content: Content, cluster: tuple[str, list[int]]
) -> None:
    cohort, out = draw_cohort(8, side=512), Path("store")  # relative: the workers have another directory
    address, workers = cluster
    process = verb(cohort, out, "--dask", address, cwd=tmp_path)
    until = time.monotonic() + 60
    while not list((tmp_path / out).glob("part-*.parquet")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.002)
    os.kill(workers[0], signal.SIGKILL)
    assert len(list((tmp_path / out).glob("part-*.parquet"))) < 7
    output, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    assert "800 patches of 8 slide(s)" in output
    settings = PatchSettings(region_px=32, region_mpp=0.5, patch_px=16)
    given = {**cohort.inputs, "settings": settings, "workers": 1, "progress": False}
    extract(given.pop("slides"), out=tmp_path / "whole", **given)
    assert content(tmp_path / out) == content(tmp_path / "whole")


def test_missing_scheduler_is_reported_in_one_line_within_seconds(draw_cohort: Any, tmp_path: Path) -> None:
    started = time.monotonic()
    process = verb(draw_cohort(1), tmp_path / "store", "--dask", "tcp://127.0.0.1:9")
    error = process.communicate()[1]
    assert process.returncode == 2
    assert time.monotonic() - started < 20
    (line,) = error.splitlines()
    assert line.startswith("histosynth: error: no Dask scheduler answers at 'tcp://127.0.0.1:9' within 5 seconds; ")
    assert not (tmp_path / "store").exists()


def test_dask_rejects_a_number_of_local_workers(draw_cohort: Any, small: PatchSettings, tmp_path: Path) -> None:
    with pytest.raises(HistosynthError, match="--dask uses the workers of the cluster; leave out --workers"):
        extract([draw_cohort(1).slides], out=tmp_path / "store", settings=small, workers=2, dask="tcp://127.0.0.1:9")


def test_error_names_the_missing_extra(
    draw_cohort: Any, small: PatchSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(HistosynthError, match=r"--dask needs the extra 'cluster'; pip install 'histosynth\[cluster\]'"):
        extract([draw_cohort(1).slides], out=tmp_path / "store", settings=small, dask="tcp://127.0.0.1:9")


@contextmanager
def one_thread(address: str) -> Iterator[Executor]:
    """Stand in for `dask_executor` without a cluster."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("workers", "cluster"):
        monkeypatch.setattr(f"histosynth.patches.{module}.dask_executor", one_thread)


class KilledWorker(Exception):  # noqa: N818
    """Error of the same name as in distributed."""


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            CancelledError(),
            "the connection to the Dask scheduler at tcp://there:1 was lost; rerun the command to resume",
        ),
        (ModuleNotFoundError("No module named 'x'"), r"a Dask worker lacks a package \(No module named 'x'\); install"),
        (KilledWorker(), "a slide killed several Dask workers, perhaps for lack of memory"),
        (HistosynthError("a Dask worker cannot access S0.png"), "cannot access S0.png"),
    ],
)
@pytest.mark.usefixtures("no_cluster")
def test_cluster_failures_are_reported_in_one_line(
    draw_cohort: Any, small: PatchSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Any, message: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("histosynth.patches.workers.extract_on_cluster", fail)
    with pytest.raises(HistosynthError, match=message):
        extract([draw_cohort(1).slides], out=tmp_path / "store", settings=small, mpp=0.5, dask="tcp://there:1",
                progress=False)  # fmt: skip
    assert not (tmp_path / "store").exists()


@pytest.mark.usefixtures("no_cluster")
def test_slide_that_a_worker_cannot_read_is_skipped_by_name(
    draw_cohort: Any, small: PatchSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_on_s1(job: Job, version: str) -> int | HistosynthError:
        return HistosynthError("S1 is damaged") if job.slide_id == "S1" else extract_on_cluster(job, version)

    monkeypatch.setattr("histosynth.patches.workers.extract_on_cluster", fail_on_s1)
    given = {"out": tmp_path / "store", "settings": small, "mpp": 0.5, "dask": "tcp://there:1", "progress": False}
    with pytest.raises(HistosynthError, match="S1 is damaged"):
        extract([draw_cohort(3).slides], **given)
    result = extract([tmp_path / "cohort" / "slides"], **given, skip_bad_slides=True)
    assert result.slides_skipped == {"S1": "S1 is damaged"}
    assert result.slides_done == 2


def test_running_a_job_twice_writes_its_part_once(draw_cohort: Any, small: PatchSettings, tmp_path: Path) -> None:
    from histosynth import __version__

    cohort, out = draw_cohort(1), tmp_path / "store"
    out.mkdir()
    (job,) = plan(
        {"S0": cohort.slides / "S0.png"}, out=out, settings=small, staining=build_normalization("macenko"), mpp=0.5
    ).jobs
    assert extract_on_cluster(job, __version__) == small.cap
    first = job.part.stat()
    assert extract_on_cluster(job, __version__) == small.cap
    assert job.part.stat() == first  # not written again
    assert part_fingerprint(job.part) == job.fingerprint
    assert [path.name for path in out.iterdir()] == ["part-S0.parquet"]
    with pytest.raises(
        HistosynthError, match=r"a Dask worker has histosynth .*, this command 9\.9; install the same version"
    ):
        extract_on_cluster(job, "9.9")
    job.slide.unlink()
    with pytest.raises(
        HistosynthError, match=r"cannot access .*S0\.png; put slides and store on a disk that all workers share"
    ):
        extract_on_cluster(job, __version__)
