"""A real `histosynth study serve` that is stopped by a signal, or backed up while it runs."""

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from histosynth.errors import HistosynthError
from histosynth.study.analysis.readings import load_readings
from histosynth.study.records.backup import backup
from histosynth.study.records.database import FILE, sqlite_url

pytestmark = pytest.mark.skipif("HISTOSYNTH_TEST_DATABASE" in os.environ, reason="for SQLite only")


@contextmanager
def serving(study: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command in a process of its own; yield it and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "histosynth", "study", "serve", str(study), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # ignored if the tests run under nohup
    )  # fmt: skip
    try:
        out = ""
        while not (at := re.search(r"serving +(http://127\.0\.0\.1:\d+)\n", out)):
            assert process.poll() is None, process.stderr.read()
            out += process.stdout.readline()
        yield process, at[1]
    finally:
        process.kill()
        process.communicate()


def answer_over_http(url: str, token: str, *, answers: int) -> None:
    """Open a reader's link, consent, and answer that many presentations."""
    with httpx.Client(base_url=url, headers={"Sec-Fetch-Site": "same-origin"}, timeout=60) as http:
        http.get(f"/r/{token}")

        def form(path: str) -> dict[str, str]:
            return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', http.get(path).text))

        assert http.post("/welcome", data=form("/welcome") | {"consent": "yes"}).status_code == 303
        for _ in range(answers):
            reply = http.post("/answer", data={**form("/case"), "said": "real", "confidence": 3, "visible_ms": 0})
            assert reply.status_code == 303


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_after_a_signal_the_file_alone_has_every_answer(tiny_study, tmp_path, signum):
    tiny_study.database.close()
    with serving(tiny_study.path) as (process, url):
        answer_over_http(url, tiny_study.tokens[0], answers=5)
        process.send_signal(signum)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(tiny_study.path / FILE, copy)
    assert len(load_readings(copy).readings) == 3  # the first two are practice
    assert sum(path.stat().st_size for path in tiny_study.path.glob("*-wal")) == 0


def test_a_backup_while_serving_has_every_answer_given_so_far(tiny_study, tmp_path):
    copy = tmp_path / "copy" / FILE
    with serving(tiny_study.path) as (_, url):
        answer_over_http(url, tiny_study.tokens[0], answers=4)
        assert backup(tiny_study.path, copy) == 4
        answer_over_http(url, tiny_study.tokens[1], answers=1)
    assert len(load_readings(copy.parent).readings) == 2
    assert [path.name for path in copy.parent.iterdir()] == [FILE]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with pytest.raises(HistosynthError, match="exists, and a backup is never overwritten"):
        backup(tiny_study.path, copy)


def test_a_damaged_database_is_not_backed_up(tiny_study, tmp_path):
    tiny_study.database.close()
    with (tiny_study.path / FILE).open("r+b") as file:
        file.truncate(8192)
    with pytest.raises(HistosynthError, match="malformed"):
        backup(tiny_study.path, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


def test_a_path_may_contain_any_characters(tmp_path, make_study):
    study = make_study(tmp_path / "a?mode=b %20 #c", readers=1, cases=2)
    assert study.database.url == sqlite_url(study.path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a?mode=b %20 #c"]
    with serving(study.path) as (_, url):
        answer_over_http(url, study.tokens[0], answers=1)
    assert len(load_readings(study.path).readings) == 1
