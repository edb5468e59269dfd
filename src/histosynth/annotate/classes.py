"""Classes of outlines, with their colors: those that `patches` knows by default, and the annotator's own."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from histosynth.errors import HistosynthError
from histosynth.text import nfc

_PALETTE = ("#8c6bb1", "#e07b00", "#0b7a75", "#b8860b", "#5d5fef", "#a23e48")
_MAX_NAME = 100


@dataclass(frozen=True, kw_only=True)
class OutlineClass:
    """A class: its name, and its color as #rrggbb."""

    name: str
    color: str

    @property
    def rgb(self) -> list[int]:
        """Red, green and blue, in [0, 255]."""
        return [int(self.color[start : start + 2], 16) for start in (1, 3, 5)]


DEFAULT_CLASSES = (
    OutlineClass(name="Tumor", color="#c8102e"),
    OutlineClass(name="Necrosis", color="#2e7d32"),
    OutlineClass(name="Exclude", color="#1565c0"),
)


def parse_classes(texts: Sequence[str]) -> tuple[OutlineClass, ...]:
    """Return the default classes and those given as `NAME` or `NAME=#rrggbb`, which may change the color of a default.

    Raises:
        HistosynthError: a name is empty or too long, or a color is none.
    """
    classes = {each.name: each for each in DEFAULT_CLASSES}
    for text in texts:
        name, _, color = (part.strip() for part in nfc(text).partition("="))
        if not name or len(name) > _MAX_NAME:
            raise HistosynthError(
                f"a class needs a name of 1 to {_MAX_NAME} characters, not '{text}'; write Name=#rrggbb"
            )
        if color and not re.fullmatch("#[0-9a-fA-F]{6}", color):
            raise HistosynthError(f"'{color}' is no color; write it as #rrggbb, as in {name}=#ff8800")
        classes[name] = OutlineClass(name=name, color=color.lower() or _color_of(len(classes)))
    return tuple(classes.values())


def class_named(classes: Sequence[OutlineClass], name: str) -> OutlineClass:
    """Return the class of that name, in a color that depends on the name alone if it is none of `classes`."""
    for each in classes:
        if each.name == name:
            return each
    return OutlineClass(name=name, color=_color_of(sum(name.encode())))


def _color_of(number: int) -> str:
    return _PALETTE[number % len(_PALETTE)]
