from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from histosynth.slides.annotations import Outlines, read_outlines

Read = Callable[..., Outlines]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return a function that writes an outline file and reads it; the suffix does not determine the format."""

    def call(content: str | bytes, *tumor_classes: str, name: str = "slide.xml", **more: Any) -> Outlines:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_outlines(path, tumor_classes=tumor_classes or ("Tumor",), **more)

    return call
