"""Names of parts: registered directly, or by an entry point of an installed package."""

import sys
from importlib.metadata import EntryPoint, EntryPoints
from types import SimpleNamespace

import pytest

from histosynth import registry
from histosynth.errors import HistosynthError
from histosynth.registry import Registry


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch) -> Registry[object]:
    """A registry with one registered part and one from the entry point of another package."""
    monkeypatch.setitem(sys.modules, "other_package", SimpleNamespace(Square="the square"))
    entry_point = EntryPoint(name="square", value="other_package:Square", group="histosynth.shape")
    monkeypatch.setattr(registry, "entry_points", lambda *, group: EntryPoints([entry_point]).select(group=group))
    shapes: Registry[object] = Registry("shape")
    shapes.register("circle")("the circle")
    return shapes


def test_registered_parts_and_entry_points_are_listed(shapes: Registry[object]) -> None:
    assert list(shapes) == ["circle", "square"]
    assert (shapes["circle"], shapes["square"]) == ("the circle", "the square")


def test_registered_parts_take_precedence(shapes: Registry[object]) -> None:
    shapes.register("square")("our own")
    assert shapes["square"] == "our own"
    assert list(shapes) == ["circle", "square"]


def test_an_unknown_name_gives_one_line_with_a_suggestion(shapes: Registry[object]) -> None:
    with pytest.raises(
        HistosynthError, match=r"^unknown shape 'cirle' \(did you mean 'circle'\?\); known: circle, square$"
    ):
        shapes["cirle"]


def test_register_returns_the_part() -> None:
    parts: Registry[type] = Registry("part")

    @parts.register("x")
    class Part: ...

    assert parts["x"] is Part
