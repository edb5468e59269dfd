"""The documents run as printed: tutorials from start to finish, and each example of reading a store."""

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import histosynth
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.store import Store, write_manifest

DOCS = Path(__file__).resolve().parents[1] / "docs"
# A relative PYTHONPATH would lead nowhere from the directories in which the documents are run.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(histosynth.__file__).resolve().parents[1])}
BLOCK = re.compile(r"^```(bash|console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return language and text of the code blocks that can be run, in order."""
    return BLOCK.findall(page.read_text("utf-8"))


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which `histosynth` and `python` are those under test."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    python = shlex.quote(sys.executable)
    for name, command in (("python", python), ("histosynth", f"{python} -m histosynth")):
        script = bin_ / name
        script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return {**ENVIRONMENT, "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}"}


def run(words: list[str], *, cwd: Path, shell: dict[str, str]) -> list[str]:
    """Return the lines that a command prints on either stream; it must succeed."""
    done = subprocess.run(
        words, cwd=cwd, env=shell, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120
    )
    assert done.returncode == 0, f"{words[-1]}\n{done.stdout}"
    return re.split(r"[\r\n]+", done.stdout)


def assert_shown(shown: list[str], printed: list[str], *, command: str) -> None:
    """Assert that each line shown was printed, in this order; `…` stands for any text, alone for any lines."""
    at = 0
    for line in (line for line in shown if line.strip() not in ("", "…")):
        pattern = re.compile(re.escape(line.rstrip()).replace("…", ".*"))
        match = next((n for n in range(at, len(printed)) if pattern.fullmatch(printed[n].rstrip())), None)
        text = "\n".join(printed)
        assert match is not None, f"`{command}` prints no line '{line}' from line {at} on of:\n{text}"
        at = match + 1


def follow(tutorial: str, *, work: Path, shell: dict[str, str]) -> None:
    """Run all commands of a tutorial in an empty directory."""
    work.mkdir()
    for language, text in blocks(DOCS / "tutorials" / tutorial):
        if language == "bash":
            run(["bash", "-euc", text], cwd=work, shell=shell)
        elif language == "python":
            run(["python", "-c", text], cwd=work, shell=shell)
        else:
            for session in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, *shown = session.splitlines()
                assert_shown(shown, run(["bash", "-euc", command], cwd=work, shell=shell), command=command)


def test_slides_to_store(tmp_path: Path, shell: dict[str, str]) -> None:
    work = tmp_path / "work"
    follow("slides-to-store.md", work=work, shell=shell)
    for made in ("slides", "outlines", "labels.csv", "truth", "store/manifest.json", "look/labels.csv", "sheet.png"):
        assert (work / made).exists(), made
    assert len(Store(work / "store")) == 36


def test_reader_study(tmp_path: Path, shell: dict[str, str]) -> None:
    work = tmp_path / "work"
    follow("reader-study.md", work=work, shell=shell)
    assert (work / "study_report" / "study_report.html").exists()
    report = json.loads((work / "study_report" / "study_report.json").read_text("utf-8"))
    assert report["title"] == "Drawn gliomas"
    assert {name: reader["accuracy"]["n"] for name, reader in report["readers"].items()} == {
        "Reader 1": 12,
        "Reader 2": 12,
    }


def test_missing_lines_are_noticed() -> None:
    assert_shown(["a  1", "…", "c … d"], ["x", "a  1", "b", "c 3 4 d"], command="x")
    for shown in (["c", "a"], ["a"], ["a  2"], ["c … e"]):
        with pytest.raises(AssertionError, match="prints no line"):
            assert_shown(shown, ["a  1", "b", "c 3 d"], command="x")


READERS = {
    re.findall(r"^(?:import|from) (pandas|polars|duckdb|datasets|histosynth)", text, re.MULTILINE)[0]: text
    for language, text in blocks(DOCS / "how-to" / "stores.md")
    if language == "python"
}


def test_every_documented_reader_has_an_example() -> None:
    assert list(READERS) == ["histosynth", "pandas", "polars", "duckdb", "datasets"]


@pytest.mark.parametrize("reader", READERS)
def test_reading_a_store(reader: str, tmp_path: Path) -> None:
    """Run the example in a new process: `datasets` fixes the place of its cache when it is imported."""
    if reader != "histosynth":
        pytest.importorskip(reader)
    store = tmp_path / "store"
    store.mkdir()
    rng = np.random.default_rng(0)
    for part in ("b", "a"):
        patches = [
            Patch(
                patch_id=f"{part}_{n}",
                image=rng.integers(0, 256, (8, 8, 3), dtype=np.uint8),
                source="real",
                label=("wt", None)[n % 2],
                split=("train", "held_out")[n % 3 == 0],
            )
            for n in range(300)  # more than one row group
        ]
        write_part(part_path(store, part), patches, fingerprint=part)
    write_manifest(store, {})
    (store / "contact_sheet.png").write_bytes(b"no part of the store")
    code = READERS[reader] + "\nnp = __import__('numpy')\nnp.savez('read.npz', ids=patch_ids, images=images)\n"
    environment = {**ENVIRONMENT, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)}
    run([sys.executable, "-c", code], cwd=tmp_path, shell=environment)
    opened = Store(store)
    rows = opened.select(split="train")
    with np.load(tmp_path / "read.npz") as read:
        assert read["ids"].tolist() == [opened.column("patch_id")[row] for row in rows]
        assert (read["images"] == opened.images(rows)).all()
