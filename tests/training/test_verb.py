"""`histosynth train` and `sample` by the command line: a mistake is one line, exit code 2, and leaves nothing torn."""

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from histosynth.cli import main
from histosynth.config import Settings

MakeStore = Callable[..., Path]
FITS = ["--set", "model.channel_mult=[1]"]  # a network for 8-px patches


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "absent", "--out", "run"], "absent is no patch store"),
        (["train", "{store}", "--out", "run", "--set", "train.imagse=3"], "did you mean 'images'?"),
        (["train", "{store}", "--out", "run", "--set", "model.stem=3"], "do not fit 8-px patches"),
        (["train", "{store}", "--out", "run", "--config", "dmeo"], "did you mean 'demo'?"),
        (["train", "{store}", "--out", "{store}/manifest.json", *FITS], "is a file; name a directory"),
        (["train", "{store}", "--out", "{store}", *FITS], "is no run"),
        (["sample", "{store}", "--out", "samples"], "has no weights"),
        (["sample", "absent.safetensors", "--out", "samples"], "has no weights"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str],
    message: str,
    make_store: MakeStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = make_store()
    before = sorted(store.iterdir())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["histosynth", *(word.format(store=store) for word in words)])
    with pytest.raises(SystemExit) as stopped:
        main()
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.count("\n") == 1
    assert error.startswith("histosynth: error: ")
    assert message in error
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "samples").exists()
    assert sorted(store.iterdir()) == before


def test_a_full_disk_is_one_line_and_the_run_goes_on(
    make_store: MakeStore, tiny_settings: Settings, tmp_path: Path
) -> None:
    """A limit on the size of files stands in for the disk: the first checkpoint does not fit."""
    config, run = tmp_path / "tiny.toml", tmp_path / "run"
    config.write_text(tiny_settings.to_toml())
    words = ["train", str(make_store()), "--out", str(run), "--config", str(config), "--device", "cpu", "--quiet"]
    command = [sys.executable, "-m", "histosynth", *words]
    limit = 60_000  # bytes; a checkpoint of the tiny network has more

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    full = subprocess.run(command, preexec_fn=limited, capture_output=True, text=True, check=False)
    assert (full.returncode, full.stdout) == (2, "")
    assert full.stderr.count("\n") == 1
    assert "nothing half-written was left" in full.stderr
    assert not [p for p in run.rglob("*") if p.name.startswith(".") or p.suffix in (".pt", ".safetensors")]
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "trained on 96 images" in again.stdout
