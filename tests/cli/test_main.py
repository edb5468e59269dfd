"""The command line as a whole: one line and exit code 2 for a user's mistake, and fast help."""

import errno
import subprocess
import sys
from pathlib import Path

import click
import pytest

from histosynth import __version__, cli
from histosynth.errors import HistosynthError


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "histosynth", *words], capture_output=True, text=True, check=False)


def main_with(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """Return the exit code and standard error of `histosynth` with a verb that raises `error`."""

    @click.command()
    def verb() -> None:
        raise error

    monkeypatch.setattr(cli.histosynth, "get_command", lambda *_: verb)
    monkeypatch.setattr(sys, "argv", ["histosynth", "train"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return int(stopped.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("--version",), *((verb, "--help") for verb in cli.VERBS)])
def test_help_is_fast_and_complete(words: tuple[str, ...]) -> None:
    program = (
        "import sys; from histosynth.cli import main\n"
        f"sys.argv = ['histosynth', *{words!r}]\n"
        "main()\n"
        "sys.exit('torch' in sys.modules or 'pyarrow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    if words == ("--version",):
        assert done.stdout == f"histosynth, version {__version__}\n"
    elif len(words) == 1:
        assert all(f"\n  {verb} " in done.stdout for verb in cli.VERBS)
    else:
        assert f"Usage: histosynth {words[0]}" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("patchs",),
            "no verb 'patchs' (did you mean 'patches'?); the verbs are demo, annotate, patches, ",
        ),
        (("qqqq",), "no verb 'qqqq'; the verbs are demo"),
        (("--verion",), "No such option '--verion'"),
        (("train", "--outt", "x"), "see `histosynth train --help`"),
        (("train",), "Missing argument"),
    ],
)
def test_a_mistyped_command_is_one_line(words: tuple[str, ...], message: str) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("histosynth: error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_is_shown_without_a_verb() -> None:
    done = run()
    assert done.returncode == 2
    assert "Start with `histosynth demo`" in done.stderr


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (HistosynthError("no slide at x.svs"), "histosynth: error: no slide at x.svs\n"),
        (HistosynthError("a library's\n  two lines"), "histosynth: error: a library's two lines\n"),
        (
            click.BadParameter("3 is no path"),
            "histosynth: error: Invalid value: 3 is no path; see `histosynth",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "/data/out/part-1.parquet"),
            "histosynth: error: /data/out/part-1.parquet: No space left on device; no partial file was left; fix this "
            "and rerun the command\n",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied"),
            "histosynth: error: Permission denied; no partial file",
        ),
    ],
)
def test_a_user_s_mistake_gives_one_line_and_exit_code_2(
    error: BaseException, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = main_with(error, monkeypatch, capsys)
    assert code == 2
    assert text.startswith(message)
    assert text.count("\n") == 1


def test_an_interrupt_says_how_to_resume(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = main_with(KeyboardInterrupt(), monkeypatch, capsys)
    assert code == 130
    assert text.strip() == "histosynth: stopped; rerun the command to resume"


@pytest.mark.parametrize("bug", [ValueError("a bug"), OSError(errno.EIO, "Input/output error")])
def test_a_bug_keeps_its_traceback(bug: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def verb() -> None:
        raise bug

    monkeypatch.setattr(cli.histosynth, "get_command", lambda *_: verb)
    monkeypatch.setattr(sys, "argv", ["histosynth", "train"])
    with pytest.raises(type(bug)):
        cli.main()


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    """`histosynth doctor | head -0`: the pipe is closed before anything is written."""
    program = f'"{sys.executable}" -m histosynth --help | true; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.strip() in ("0", "1")


def test_threads_wait_without_spinning_unless_the_user_chose_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import os, sys, histosynth.cli; histosynth.cli.main = lambda: print(os.environ['OMP_WAIT_POLICY']);"
        "from histosynth.__main__ import main; main()"
    )
    for given, expected in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        if given:
            monkeypatch.setenv("OMP_WAIT_POLICY", given)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected
