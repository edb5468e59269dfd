"""The documents agree with the code: reference pages, commands, and links."""

import re
import runpy
from pathlib import Path

import click
import pytest

from histosynth.cli import histosynth
from histosynth.config import load_settings

ROOT = Path(__file__).resolve().parents[1]
PAGES = runpy.run_path(str(ROOT / "docs" / "reference" / "generate.py"))["PAGES"]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands() -> list[tuple[str, str]]:
    """Return each `histosynth …` of a code block, with its document."""
    shown = []
    for document in DOCUMENTS:
        for block in re.findall(r"^```.*?\n(.*?)^```", document.read_text("utf-8"), re.MULTILINE | re.DOTALL):
            lines = block.replace("\\\n", " ").splitlines()
            shown += [(document.name, line.partition("#")[0]) for line in lines if line.startswith("histosynth ")]
    return shown


@pytest.mark.parametrize("page", PAGES)
def test_reference_pages_agree_with_the_code(page: str) -> None:
    path = ROOT / "docs" / "reference" / page
    assert path.read_text("utf-8") == PAGES[page](), "run `make docs`"


@pytest.mark.parametrize(("document", "line"), commands())
def test_commands_in_documents_exist(document: str, line: str) -> None:
    command: click.Command | None = histosynth
    words = line.split()[1:]
    while isinstance(command, click.Group):
        command, words = command.get_command(click.Context(command), words[0]), words[1:]
    assert command is not None, f"{document}: {line}"
    known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
    assert not unknown, f"{document}: {line}"


def test_the_plan_for_scale_states_the_operations_of_the_paper_preset() -> None:
    arithmetic = runpy.run_path(str(ROOT / "benchmarks" / "data" / "loader.py"))["arithmetic"]
    forward, step = (count / 1e9 for count in arithmetic(load_settings("paper")))
    page = (ROOT / "docs" / "concepts" / "scale.md").read_text("utf-8")
    assert f"{forward:.0f} GFLOP per pass, {step:,.0f} GFLOP per training step" in page


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_have_targets(document: Path) -> None:
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", document.read_text("utf-8"))
    assert not [target for target in targets if not (document.parent / target).exists()]
