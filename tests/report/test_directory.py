"""A report replaces files that a report wrote, and no others."""

import os
import subprocess

import pytest

from histosynth.errors import HistosynthError
from histosynth.report.directory import check_output, replace_directory
from histosynth.rundir import write_json
from limits import attempt, bounded
from mutations import Mutations


@pytest.fixture
def out(tmp_path):
    with replace_directory(tmp_path / "out") as directory:
        (directory / "figures").mkdir()
        (directory / "figures" / "a.png").write_bytes(b"chart")
        (directory / "page.html").write_text("page")
        write_json(directory / "facts.json", {"kind": "thing"})
    return tmp_path / "out"


def check(out):
    check_output(out, facts="facts.json", kind="thing")


def test_what_was_written_may_be_replaced(out):
    check(out)
    (out / "figures" / "a.png").unlink()
    check(out)
    subprocess.run(["sha256sum", "--check", "--ignore-missing", "SHA256SUMS"], cwd=out, check=True, capture_output=True)
    with replace_directory(out) as directory:
        write_json(directory / "facts.json", {"kind": "thing"})
    assert sorted(p.name for p in out.iterdir()) == ["SHA256SUMS", "facts.json"]


@pytest.mark.parametrize("name", ["facts.json", "SHA256SUMS"])
def test_damaged_facts_and_lists_end_in_success_or_one_line(out, name):
    refused = 0
    for copy in Mutations((out / name).read_bytes(), count=500):
        (out / name).write_bytes(copy)
        refused += attempt(lambda: check(out)) is not None
    assert 50 < refused < 500


@pytest.mark.parametrize("name", ["facts.json", "SHA256SUMS"])
def test_a_pipe_is_refused_and_not_waited_for(out, name):
    (out / name).unlink()
    os.mkfifo(out / name)
    with bounded("a pipe", seconds=1), pytest.raises(HistosynthError, match=r"exists and is not|did not write"):
        check(out)


@pytest.mark.parametrize("name", ["notes.txt", "figures/mine.png", "data/raw.csv", "a b\u00e9.txt", ".hidden"])
def test_files_of_others_are_not_deleted(out, name):
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("mine")
    with pytest.raises(HistosynthError, match=f"holds {name}, which the thing did not write"):
        check(out)
    assert (out / name).read_text() == "mine"


def test_an_edited_page_and_a_link_are_not_deleted(out, tmp_path):
    (out / "page.html").write_text("page, with my notes")
    with pytest.raises(HistosynthError, match=r"page\.html, changed since"):
        check(out)
    (out / "page.html").write_text("page")
    (out / "link").symlink_to(tmp_path)
    with pytest.raises(HistosynthError, match="link, which"):
        check(out)


def test_a_directory_without_its_list_is_not_replaced(out):
    (out / "SHA256SUMS").unlink()
    with pytest.raises(HistosynthError, match="did not write"):
        check(out)
