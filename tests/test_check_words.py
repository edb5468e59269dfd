"""The word check finds excluded words in prose and in identifiers, and nothing else."""

import runpy
from pathlib import Path

import pytest

TOOL = runpy.run_path(str(Path(__file__).resolve().parents[1] / "tools" / "check_words.py"))


@pytest.mark.parametrize(
    "line",
    [
        "It is told here.",
        "def told_by_main() -> None:",
        "class HeededBy:",
        "_TOLD = 1",
        "made anew",
        "what became  of it",
    ],
)
def test_excluded_words_are_found(tmp_path: Path, line: str) -> None:
    file = tmp_path / "module.py"
    file.write_text(f"ok = 1\n{line}\n")
    (finding,) = TOOL["check"](file)
    assert finding.startswith(f"{file}:2: ")
    assert "; write " in finding


@pytest.mark.parametrize(
    "line", ["amended, gated, unheeding", "deadline = patient", "not_found = 1", "a recommended way"]
)
def test_other_words_pass(tmp_path: Path, line: str) -> None:
    file = tmp_path / "module.py"
    file.write_text(line)
    assert list(TOOL["check"](file)) == []


def test_empty_names_are_found_in_code_only(tmp_path: Path) -> None:
    for name, count in (("module.py", 2), ("page.md", 0)):
        file = tmp_path / name
        file.write_text("found = 1\n    found: int = 2\nfound_rows = 3\n")
        assert len(list(TOOL["check"](file))) == count
