"""The history of one slide: a tree of drawings, computed from the strokes.

Every stroke that changes the drawing makes a new version, whose parent is the version that was shown before. Undo
returns to the parent, redo to where the undo came from, and a stroke after an undo starts a new branch, so that nothing
is ever lost. `restore` is a stroke like any other: it makes a version with an older drawing.

Only the versions used last are kept, and every 32nd one; others are computed again from the nearest of these. Undo is
therefore unlimited, and its memory is not.
"""

from collections import OrderedDict
from collections.abc import Sequence

from histosynth.annotate.drawing import Canvas, Drawing, UnknownOutlineError, apply_edit
from histosynth.annotate.stroke_log import Entry
from histosynth.annotate.strokes import Done, Redo, Restore, Stroke, Undo
from histosynth.errors import HistosynthError

_RECENT, _INTERVAL = 32, 32


class History:
    """Versions by the number of their stroke; 0 is the empty drawing."""

    def __init__(self, entries: Sequence[Entry], *, canvas: Canvas) -> None:
        self._canvas = canvas
        self._entries: list[Entry] = []
        self._shown = [0]  # version after each entry
        self._parents: dict[int, int] = {}
        self._depths = {0: 0}
        self._undone: list[int] = []
        self.done = False
        self._kept: dict[int, Drawing] = {0: ()}
        self._recent: OrderedDict[int, Drawing] = OrderedDict()
        for entry in entries:
            self.record(entry)

    @property
    def number(self) -> int:
        """Number of strokes."""
        return len(self._entries)

    @property
    def version(self) -> int:
        """The version that is shown."""
        return self._shown[-1]

    @property
    def drawing(self) -> Drawing:
        """The drawing that is shown."""
        return self.drawing_of(self.version)

    @property
    def can_undo(self) -> bool:
        """Whether there is a stroke to undo."""
        return self.version != 0

    @property
    def can_redo(self) -> bool:
        """Whether there is an undo to take back."""
        return bool(self._undone)

    def drawing_at(self, number: int) -> Drawing:
        """Return the drawing that was shown after so many strokes."""
        return self.drawing_of(self._shown[number])

    def result_of(self, stroke: Stroke) -> Drawing | None:
        """Return the drawing that the stroke would give as the next one; None if it would change nothing.

        Raises:
            HistosynthError: the stroke does not apply to the drawing.
        """
        before = self.drawing
        match stroke:
            case Undo():
                return self.drawing_of(self._parents[self.version]) if self.can_undo else None
            case Redo():
                return self.drawing_of(self._undone[-1]) if self.can_redo else None
            case Done(done=done):
                return None if done == self.done else before
            case Restore(to=to):
                if to > self.number:
                    raise UnknownOutlineError(f"there are only {self.number} strokes; choose one of them")
                after = before if self._shown[to] == self.version else self.drawing_at(to)
            case _:
                after = apply_edit(before, stroke, number=self.number + 1, canvas=self._canvas)
        return None if after is before else after

    def record(self, entry: Entry, drawing: Drawing | None = None) -> None:
        """Add a stroke that the log has; `drawing` is the result, if it is known already."""
        self._entries.append(entry)
        match entry.stroke:
            case Undo():
                self._undone.append(self.version)
                self._shown.append(self._parents.get(self.version, 0))
            case Redo():
                self._shown.append(self._undone.pop() if self._undone else self.version)
            case Done(done=done):
                self.done = done
                self._shown.append(self.version)
            case _:
                number = entry.number
                self._parents[number], self._depths[number] = self.version, self._depths[self.version] + 1
                self._undone.clear()
                self._shown.append(number)
                if drawing is not None:
                    self._keep(number, drawing)

    def drawing_of(self, version: int) -> Drawing:
        """Return the drawing of a version, computed from the nearest one that is kept."""
        missing = []
        while (drawing := self._find(version)) is None:
            missing.append(version)
            version = self._source(version)
        for version in reversed(missing):
            drawing = self._replay(drawing, self._entries[version - 1].stroke, version)
            self._keep(version, drawing)
        return drawing

    def _source(self, version: int) -> int:
        """Return the version whose drawing the stroke of `version` starts from."""
        stroke = self._entries[version - 1].stroke
        if isinstance(stroke, Restore):
            return self._shown[min(stroke.to, version - 1)]
        return self._parents[version]

    def _replay(self, drawing: Drawing, stroke: Stroke, version: int) -> Drawing:
        if isinstance(stroke, Restore | Undo | Redo | Done):
            return drawing
        try:
            return apply_edit(drawing, stroke, number=version, canvas=self._canvas)
        except HistosynthError:  # only in a log that somebody edited
            return drawing

    def _find(self, version: int) -> Drawing | None:
        if version in self._recent:
            self._recent.move_to_end(version)
            return self._recent[version]
        return self._kept.get(version)

    def _keep(self, version: int, drawing: Drawing) -> None:
        self._recent[version] = drawing
        self._recent.move_to_end(version)
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
        if self._depths[version] % _INTERVAL == 0:
            self._kept[version] = drawing

    def events(self) -> list[tuple[Entry, bool]]:
        """Return all strokes, and whether each one belongs to the version shown."""
        lineage, version = {0}, self.version
        while version:
            lineage.add(version)
            version = self._parents[version]
        return [(entry, entry.number in lineage) for entry in self._entries]
