"""One slide as one annotator draws it: the stroke log, the history that follows from it, and the GeoJSON beside it.

The GeoJSON is written before the page hears of a stroke. It may be opened and changed by others. Therefore it is
compared with what was written last before each stroke; if it differs, nothing is overwritten until the annotator has
decided which of the two is to be kept.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import RLock
from uuid import uuid4

from histosynth.annotate.classes import OutlineClass
from histosynth.annotate.drawing import Canvas, Drawing
from histosynth.annotate.encoding import encode_rings
from histosynth.annotate.geometry import polygons_on_grid
from histosynth.annotate.history import History
from histosynth.annotate.qupath import QuPathWriter
from histosynth.annotate.stroke_log import LOG_SUFFIX, StrokeLog
from histosynth.annotate.strokes import Import, ImportedOutline, Stroke, VertexStroke
from histosynth.errors import HistosynthError
from histosynth.rundir import atomic_write
from histosynth.slides.annotations import SlideFrame, find_outlines, read_areas

GEOJSON_SUFFIX = ".geojson"
_MAX_COMMENT = 2000


class ConflictError(HistosynthError):
    """Another program changed the GeoJSON."""


class StaleError(HistosynthError):
    """A stroke names a vertex of an outline that has changed since the page saw it."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a stroke changed."""

    changed: Drawing
    removed: Sequence[str]


class Document:
    """The drawing of one slide by one annotator. All methods may be called from several threads.

    Args:
        folder: of the annotator.
        frame: of the slide: its id, size and scanned bounds.
        classes: with their colors.
        imports: folder of outlines of any format to start from, for slides that have none.

    Raises:
        HistosynthError: the log is damaged, or the outlines to start from cannot be read.
        OSError: the folder cannot be written.
    """

    def __init__(
        self, folder: Path, *, frame: SlideFrame, classes: Sequence[OutlineClass], imports: Path | None = None
    ) -> None:
        self.frame, self.lock = frame, RLock()
        self._geojson = folder / f"{frame.slide_id}{GEOJSON_SUFFIX}"
        canvas = Canvas(width_px=frame.width_px, height_px=frame.height_px)
        self._log = StrokeLog(folder / f"{frame.slide_id}{LOG_SUFFIX}", slide_id=frame.slide_id, canvas=canvas)
        self.history = History(self._log.entries, canvas=canvas)
        self._numbers = {entry.id: entry.number for entry in self._log.entries}
        self._changed_at: dict[str, int] = {}
        origin = (frame.bounds.x, frame.bounds.y) if frame.bounds else (0, 0)
        self._writer = QuPathWriter(slide_id=frame.slide_id, origin=origin, classes=classes)
        self._written: bytes | None = None  # digest of the GeoJSON that is known to be ours
        self._signature: tuple[int, ...] | None = None
        self._start(imports)

    def _start(self, imports: Path | None) -> None:
        """Take up outlines that are there already, and a GeoJSON that a killed process has not written any more."""
        content = self._content()
        if not self.history.number:
            if content is not None:
                self._import(self._geojson)
            elif imports is not None and (file := find_outlines(imports, self.frame.slide_id)):
                self._import(file)
            return
        if content in (None, self._writer.write(self.history.drawing), self._writer.write(self._drawing_before())):
            self._write(self._writer.write(self.history.drawing))

    def _drawing_before(self) -> Drawing:
        """Return the drawing before the last stroke."""
        return self.history.drawing_at(self.history.number - 1)

    def _import(self, file: Path) -> None:
        areas = read_areas(file, frame=self.frame)
        outlines = [
            ImportedOutline(class_name=area.name[:100], comment=area.comment[:_MAX_COMMENT], rings=encode_rings(part))
            for area in areas
            for polygon in area.polygons
            for part in polygons_on_grid(polygon)
        ]
        if file == self._geojson:
            os.link(file, self._unused_backup())  # ours replaces it, and has no points, cells or measurements
        self._record(Import(name=file.name, outlines=outlines), str(uuid4()), overwrite=True)

    @property
    def conflict(self) -> str | None:
        """What is to be decided before the next stroke: the GeoJSON is not ours any more."""
        signature = self._stat()
        if signature in (None, self._signature):
            return None
        content = self._content()
        if content is not None and sha256(content).digest() == self._written:
            self._signature = signature
            return None
        return f"{self._geojson.name} was changed by another program; decide which outlines to keep"

    def apply(self, stroke: Stroke, stroke_id: str, *, base: int) -> Change | None:
        """Apply a stroke and save it; None if it changes nothing. A stroke whose id is in the log is not applied again.

        Args:
            stroke: what was drawn.
            stroke_id: the page's id of it.
            base: number of strokes that the page knew.

        Raises:
            ConflictError: the GeoJSON was changed by another program.
            StaleError: it names a vertex of an outline that has changed since.
            UnknownOutlineError: it names an outline that there is no more.
            OSError: it cannot be saved; nothing has changed.
        """
        with self.lock:
            if stroke_id in self._numbers:
                return None
            if message := self.conflict:
                raise ConflictError(message)
            if isinstance(stroke, VertexStroke) and self._changed_at.get(stroke.outline, 0) > base:
                raise StaleError("this outline has changed meanwhile; look at it again")
            return self._record(stroke, stroke_id)

    def _record(self, stroke: Stroke, stroke_id: str, *, overwrite: bool = False) -> Change | None:
        before, after = self.history.drawing, self.history.result_of(stroke)
        if after is None and not overwrite:
            return None
        drawing = before if after is None else after
        content = self._writer.write(drawing)
        if sha256(content).digest() == self._written and not overwrite:
            entry = self._log.append(stroke_id, stroke)
        else:
            # The new GeoJSON is on disk before the log says so, and takes its place right after.
            with atomic_write(self._geojson) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                entry = self._log.append(stroke_id, stroke)
            self._written, self._signature = sha256(content).digest(), self._stat()
        self.history.record(entry, drawing)
        self._numbers[stroke_id] = entry.number
        change = _difference(before, drawing)
        self._changed_at |= {each.id: entry.number for each in change.changed}
        return change

    def keep_ours(self) -> None:
        """End a conflict: keep the other file as `<slide_id>.geojson.<n>.bak`, and write our outlines."""
        with self.lock:
            if self.conflict:
                os.link(self._geojson, self._unused_backup())
                self._write(self._writer.write(self.history.drawing))

    def take_theirs(self) -> None:
        """End a conflict: take over the outlines of the other file, as a stroke that can be undone.

        Raises:
            HistosynthError: the file cannot be read; the conflict remains.
        """
        with self.lock:
            if self.conflict:
                self._import(self._geojson)

    def _unused_backup(self) -> Path:
        number = 1
        while (path := self._geojson.with_name(f"{self._geojson.name}.{number}.bak")).exists():
            number += 1
        return path

    def _write(self, content: bytes) -> None:
        with atomic_write(self._geojson) as file:
            file.write(content)
        self._written, self._signature = sha256(content).digest(), self._stat()

    def _content(self) -> bytes | None:
        try:
            return self._geojson.read_bytes()
        except FileNotFoundError:
            return None

    def _stat(self) -> tuple[int, ...] | None:
        try:
            facts = self._geojson.stat()
        except FileNotFoundError:
            return None
        return facts.st_ino, facts.st_size, facts.st_mtime_ns


def _difference(before: Drawing, after: Drawing) -> Change:
    known = {id(each) for each in before}
    ids = {each.id for each in after}
    return Change(
        changed=tuple(each for each in after if id(each) not in known),
        removed=[each.id for each in before if each.id not in ids],
    )
