"""Registries of interchangeable parts by name; other packages add theirs through entry points `histosynth.<kind>`."""

from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from histosynth.errors import HistosynthError, did_you_mean

T = TypeVar("T")


class Registry(Generic[T]):
    """Mapping from names to parts of type `T`: registered parts first, then the entry points `histosynth.<kind>`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers a part under `name`."""

        def add(item: T) -> T:
            self._items[name] = item
            return item

        return add

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._items, *(e.name for e in entry_points(group=f"histosynth.{self.kind}"))}))

    def __getitem__(self, name: str) -> T:
        if name in self._items:
            return self._items[name]
        for entry in entry_points(group=f"histosynth.{self.kind}"):
            if entry.name == name:
                item: T = entry.load()
                return item
        known = list(self)
        raise HistosynthError(f"unknown {self.kind} '{name}'{did_you_mean(name, known)}; known: {', '.join(known)}")
