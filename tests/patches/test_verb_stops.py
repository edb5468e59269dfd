"""`histosynth patches` that is stopped before its end: no incomplete files, and a rerun completes the store."""

import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from histosynth.store.store import Store

SMALL = ["--mpp", "0.5", "--set", "patches.region_px=32", "--set", "patches.region_mpp=0.5",
         "--set", "patches.patch_px=16"]  # fmt: skip


Verb = Callable[..., tuple[int, str, str]]


def command(cohort: Any, out: Path, *more: str) -> list[str]:
    given = [cohort.slides, "--outlines", cohort.outlines, "--labels", cohort.labels, "--out", out]
    return [*map(str, given), *SMALL, "--workers", "1", *more]


def lines(error: str) -> list[str]:
    """Return the lines that remain on the terminal; a progress bar overwrites itself."""
    return [line for line in error.splitlines() if line.strip() and not line.startswith(("extracting:", "checking:"))]


def start(cohort: Any, out: Path, *, workers: int) -> "subprocess.Popen[bytes]":
    arguments = [sys.executable, "-m", "histosynth", "patches", *command(cohort, out, "--workers", str(workers))]
    return subprocess.Popen(arguments, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wait_for_a_part(process: "subprocess.Popen[bytes]", out: Path) -> None:
    deadline = time.monotonic() + 60
    while not list(out.glob("part-*.parquet")):
        assert process.poll() is None, "the process ended before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.parametrize("workers", [1, 2])
def test_rerun_after_a_kill_gives_the_same_bytes(
    draw_cohort: Any, tmp_path: Path, verb: Verb, content: Callable[[Path], dict[str, bytes]], workers: int
) -> None:
    cohort, out = draw_cohort(8, side=512), tmp_path / "store"
    process = start(cohort, out, workers=workers)
    wait_for_a_part(process, out)
    if workers == 1:
        os.killpg(process.pid, signal.SIGKILL)
    else:  # only the parent: its workers must not continue alongside the next command
        process.kill()
    process.communicate()
    finished = len(list(out.glob("part-*.parquet")))
    assert 1 <= finished < 8
    assert not (out / "manifest.json").exists()
    assert verb(*command(cohort, out))[0] == 0
    assert verb(*command(cohort, tmp_path / "whole"))[0] == 0
    assert content(out) == content(tmp_path / "whole")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_stops_cleanly_and_rerunning_completes_the_store(
    draw_cohort: Any, tmp_path: Path, verb: Verb, content: Callable[[Path], dict[str, bytes]], signum: signal.Signals
) -> None:
    cohort, out = draw_cohort(8, side=512), tmp_path / "store"
    process = start(cohort, out, workers=2)
    wait_for_a_part(process, out)
    if signum == signal.SIGINT:
        os.killpg(process.pid, signum)  # as a terminal does: every process of the group receives it
    else:
        process.terminate()  # as a scheduler does
    error = process.communicate(timeout=30)[1].decode()  # it waits until no process holds standard error: no orphan
    assert process.returncode == 128 + signum
    assert lines(error) == ["histosynth: stopped; rerun the command to resume"]
    assert not list(out.glob(".*"))
    assert not (out / "manifest.json").exists()
    assert verb(*command(cohort, out))[0] == 0
    assert verb(*command(cohort, tmp_path / "whole"))[0] == 0
    assert content(out) == content(tmp_path / "whole")


def test_second_command_on_the_same_store_is_rejected_in_one_line(draw_cohort: Any, tmp_path: Path, verb: Verb) -> None:
    cohort, out = draw_cohort(8, side=512), tmp_path / "store"
    process = start(cohort, out, workers=1)
    wait_for_a_part(process, out)
    code, _, error = verb(*command(cohort, out))
    assert code == 2
    assert lines(error) == [
        f"histosynth: error: {out} is being written by another command (process {process.pid} on {platform.node()}); "
        "wait for its end, or pass another directory"
    ]
    assert process.poll() is None
    process.communicate()
    assert process.returncode == 0
    assert len(Store(out)) == 800


def test_full_disk_is_reported_in_one_line_and_rerunning_resumes(
    draw_cohort: Any, tmp_path: Path, verb: Verb, content: Callable[[Path], dict[str, bytes]]
) -> None:
    cohort, out = draw_cohort(3), tmp_path / "store"
    assert verb(*command(cohort, tmp_path / "whole"))[0] == 0
    limit = (tmp_path / "whole" / "part-S1.parquet").stat().st_size - 1
    script = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "from histosynth.cli import main; main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, "patches", *command(cohort, out)], capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert len(lines(ended.stderr)) == 1
    assert "File too large" in ended.stderr
    assert not list(out.glob(".*"))
    assert not (out / "manifest.json").exists()
    assert verb(*command(cohort, out))[0] == 0
    assert content(out) == content(tmp_path / "whole")
