"""Names for parts: registered here or by an entry point of an installed package."""

import sys
from importlib.metadata import EntryPoint, EntryPoints
from types import SimpleNamespace

import pytest

from histosynth import registry
from histosynth.errors import HistosynthError
from histosynth.registry import Registry


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch) -> Registry[object]:
    """A registry with one part of its own and one that another package brings."""
    monkeypatch.setitem(sys.modules, "other_package", SimpleNamespace(Square="the square"))
    brought = EntryPoint(name="square", value="other_package:Square", group="histosynth.shape")
    monkeypatch.setattr(registry, "entry_points", lambda *, group: EntryPoints([brought]).select(group=group))
    shapes: Registry[object] = Registry("shape")
    shapes.register("circle")("the circle")
    return shapes


def test_registered_and_brought_parts_are_found_and_listed(shapes: Registry[object]) -> None:
    assert list(shapes) == ["circle", "square"]
    assert (shapes["circle"], shapes["square"]) == ("the circle", "the square")


def test_what_is_registered_here_wins(shapes: Registry[object]) -> None:
    shapes.register("square")("our own")
    assert shapes["square"] == "our own"
    assert list(shapes) == ["circle", "square"]


def test_an_unknown_name_is_one_line_with_the_nearest(shapes: Registry[object]) -> None:
    with pytest.raises(
        HistosynthError, match=r"^unknown shape 'cirle' \(did you mean 'circle'\?\); known: circle, square$"
    ):
        shapes["cirle"]


def test_register_hands_the_part_back() -> None:
    parts: Registry[type] = Registry("part")

    @parts.register("x")
    class Part: ...

    assert parts["x"] is Part
