"""Signals: SIGTERM and Ctrl-C end every verb with the same line, at any moment, and leave no process behind."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

STOPPED = "histosynth: stopped; rerun the command to resume"


@pytest.fixture
def running(tmp_path: Path) -> Path:
    """A run that `watch` follows without end."""
    manifest = {
        "kind": "run", "status": "running", "images": 64, "total_images": 128, "labels": ["a"], "image_px": 8,
        "mpp": None, "store": "store", "data_hash": "abc",
    }  # fmt: skip
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("delay_s", [0.3, 0.6, 1.5])
def test_a_signal_during_imports_and_work_says_stopped(running: Path, signum: signal.Signals, delay_s: float) -> None:
    words = [sys.executable, "-m", "histosynth", "watch", str(running)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for_handlers(process.pid)
    time.sleep(delay_s)
    process.send_signal(signum)
    error = process.communicate(timeout=30)[1]
    assert error.split("\n") in ([STOPPED, ""], ["", STOPPED, ""])
    assert process.returncode == 128 + signum


def test_an_interrupt_inside_exec_gives_the_same_exit_code(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text(
        "from histosynth import cli\ncli.histosynth = lambda **_: exec('raise KeyboardInterrupt(15)')\ncli.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "interrupted"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.strip()) == (143, STOPPED)


def wait_for_handlers(pid: int) -> None:
    """Wait until the interpreter has started and handles SIGTERM; before that, no program can say anything."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        if int(status["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.01)
    raise TimeoutError


def test_sigterm_to_demo_ends_its_current_command(running: Path) -> None:
    """The demo waits for `watch` here, in place of `train`."""
    program = (
        "import sys; from histosynth import cli; from histosynth.cli import demo\n"
        "demo.command.callback = lambda out: demo._run(['watch', str(out)])\n"
        "sys.argv = ['histosynth', 'demo', '--out', sys.argv[1]]; cli.main()"
    )
    words = [sys.executable, "-c", program, str(running)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    shown = ""
    while "running, 64 of 128" not in shown:  # `watch` is at work
        shown += process.stdout.readline()
    process.terminate()
    rest = process.communicate(timeout=30)[0]  # it waits until no process holds the pipe: no orphan
    assert rest.count(STOPPED) == 2
    assert process.returncode == 128 + signal.SIGTERM
