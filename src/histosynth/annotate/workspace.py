"""A folder of outlines: one folder per annotator, and in it a stroke log and a GeoJSON per slide."""

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from weakref import WeakValueDictionary

from histosynth.annotate.catalog import Catalog, UnreadableSlideError
from histosynth.annotate.classes import OutlineClass
from histosynth.annotate.document import GEOJSON_SUFFIX, Document
from histosynth.annotate.stroke_log import LOG_SUFFIX
from histosynth.errors import HistosynthError
from histosynth.text import nfc

_OPEN_DOCUMENTS = 16
_NAME = re.compile(r"[^\W_][\w .-]{0,59}")
NEW, IN_PROGRESS, DONE = "new", "in progress", "done"


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How far an annotator is with a slide."""

    state: str
    outlines: int


class Workspace:
    """The outlines of all annotators. All methods may be called from several threads.

    Args:
        folder: OUTLINES.
        catalog: the slides.
        annotators: who draws here; the first one is the default.
        classes: with their colors.
        imports: folder of outlines of any format to start from.
    """

    def __init__(
        self,
        folder: Path,
        catalog: Catalog,
        *,
        annotators: Sequence[str],
        classes: Sequence[OutlineClass],
        imports: Path | None = None,
    ) -> None:
        self.folder, self.catalog, self.classes = folder, catalog, tuple(classes)
        self.annotators = tuple(check_annotator(name) for name in annotators)
        self._imports = imports
        self._lock = Lock()
        self._open_locks: dict[tuple[str, str], Lock] = {}
        self._documents: WeakValueDictionary[tuple[str, str], Document] = WeakValueDictionary()
        self._recent: OrderedDict[tuple[str, str], Document] = OrderedDict()
        self._summaries: dict[Path, tuple[tuple[object, ...], Summary]] = {}

    def everyone(self) -> list[str]:
        """Return the annotators, and others whose outlines the folder has."""
        present = {path.name for path in self.folder.iterdir() if path.is_dir()} if self.folder.is_dir() else set()
        return sorted({*self.annotators, *(name for name in present if _NAME.fullmatch(name))})

    def outline_file(self, annotator: str, slide_id: str) -> Path:
        """Return the path of the GeoJSON."""
        return self.folder / annotator / f"{slide_id}{GEOJSON_SUFFIX}"

    def document(self, annotator: str, slide_id: str) -> Document:
        """Return the drawing of a slide by an annotator; there is one object of each.

        Raises:
            UnreadableSlideError: the slide cannot be opened.
            HistosynthError: its log or its outlines are damaged.
            OSError: the folder cannot be written.
        """
        key = annotator, slide_id
        with self._lock:
            opens = self._open_locks.setdefault(key, Lock())
        with opens:
            document = self._documents.get(key)
            if document is None:
                document = self._open(annotator, slide_id)
            with self._lock:
                self._documents[key] = self._recent[key] = document
                self._recent.move_to_end(key)
                if len(self._recent) > _OPEN_DOCUMENTS:
                    self._recent.popitem(last=False)
            return document

    def _open(self, annotator: str, slide_id: str) -> Document:
        facts = self.catalog.facts(slide_id)
        if facts.frame is None:
            raise UnreadableSlideError(facts.reason or "it cannot be opened")
        folder = self.folder / annotator
        folder.mkdir(parents=True, exist_ok=True)
        return Document(folder, frame=facts.frame, classes=self.classes, imports=self._imports)

    def summary(self, annotator: str, slide_id: str) -> Summary:
        """Return how far an annotator is with a slide, from the files alone."""
        geojson = self.outline_file(annotator, slide_id)
        log = geojson.with_name(f"{slide_id}{LOG_SUFFIX}")
        signature = (_signature(log), _signature(geojson))
        known, summary = self._summaries.get(log, (None, None))
        if summary is None or known != signature:
            summary = _summarize(log, geojson)
            self._summaries[log] = signature, summary
        return summary


def check_annotator(name: str) -> str:
    """Return the name of an annotator, which is that of a folder.

    Raises:
        HistosynthError: it cannot be one.
    """
    name = nfc(name.strip())
    if not _NAME.fullmatch(name) or name.endswith((".", " ")):
        raise HistosynthError(
            f"'{name}' cannot be the name of an annotator; use letters, digits, spaces, '.', '-' and '_', at most 60"
        )
    return name


def _signature(path: Path) -> tuple[int, int] | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_size, facts.st_mtime_ns


def _summarize(log: Path, geojson: Path) -> Summary:
    strokes = _content(log)
    outlines = _content(geojson).count(b'"type":"Feature"')
    if outlines == 0 and strokes.count(b"\n") <= 1:
        return Summary(state=NEW, outlines=0)
    last = strokes.rfind(b'"kind":"done"')
    done = last >= 0 and b'"done":true' in strokes[last : last + 40]
    return Summary(state=DONE if done else IN_PROGRESS, outlines=outlines)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
