"""A workspace with three small slides, and browsers that open a link of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from outlining import MPP, SETTINGS, Page, draw_tissue


@pytest.fixture(scope="session")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the slides `a` and `b`, and the corrupt `broken`."""
    folder = tmp_path_factory.mktemp("slides")
    draw_tissue(folder / "a.png")
    draw_tissue(folder / "b.png", seed=1)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    return folder


@pytest.fixture
def outlines(tmp_path: Path) -> Path:
    """The empty folder of outlines."""
    folder = tmp_path / "outlines"
    folder.mkdir()
    return folder


@pytest.fixture
def open_page(slides: Path, outlines: Path, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """A function that starts a server, as after a kill, and opens the link of an annotator."""
    from fastapi.testclient import TestClient

    from histosynth.annotate.app import create_app
    from histosynth.annotate.start import create_state

    page = tmp_path / "page"
    (page / "assets").mkdir(parents=True)
    (page / "index.html").write_text("<title>page</title>")
    (page / "assets" / "a.js").write_text("1")
    states = []

    def start(name: str = "anna", *, settings: Any = SETTINGS, **options: Any) -> Page:
        arguments = {"annotators": ["anna", "ben"], "mpp": MPP} | options
        state = create_state([slides], outlines, settings=settings, page=page, **arguments)
        states.append(state)
        return Page(TestClient(create_app(state)), state.links.token(name), state)

    yield start
    for state in states:
        state.workspace.catalog.close()
