"""The slides of a server: opened when they are needed, a few at a time, and a corrupt one only says why it is."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from histosynth.errors import HistosynthError
from histosynth.slides.annotations import SlideFrame
from histosynth.slides.files import find_slides, slide_id_of
from histosynth.slides.open import open_slide
from histosynth.slides.types import SlideReader

_MAX_OPEN = 12


class UnreadableSlideError(HistosynthError):
    """A slide of the list cannot be opened."""


@dataclass(kw_only=True)
class _Opened:
    slide: SlideReader
    users: int = 0


@dataclass(frozen=True, kw_only=True)
class SlideFacts:
    """What is known of a slide without opening it again."""

    frame: SlideFrame | None
    mpp: float | None = None
    reason: str | None = None
    """Why the slide cannot be opened."""


class Catalog:
    """Slides by id. All methods may be called from several threads.

    Args:
        paths: slides, folders of slides, and URLs.
        mpp: microns per pixel of slides that state none.

    Raises:
        HistosynthError: see `find_slides`.
    """

    def __init__(self, paths: Sequence[Path], *, mpp: float | None = None) -> None:
        unusable: dict[str, str] = {}
        self.paths = {slide_id_of(path): path for path in find_slides(paths, unusable=unusable)}
        self._mpp = mpp
        self._facts = {name: SlideFacts(frame=None, reason=reason) for name, reason in unusable.items()}
        self._opened: OrderedDict[str, _Opened] = OrderedDict()
        self._lock = Lock()
        self._one_opens: dict[str, Lock] = {}

    @property
    def slide_ids(self) -> list[str]:
        """Ids of all slides, unusable ones included, sorted."""
        return sorted({*self.paths, *self._facts})

    def known(self, slide_id: str) -> SlideFacts | None:
        """Return the facts of a slide if it has been opened before."""
        return self._facts.get(slide_id)

    def facts(self, slide_id: str) -> SlideFacts:
        """Return the facts of a slide, opening it if need be; an unreadable one has a reason."""
        if slide_id not in self._facts:
            try:
                with self.opened(slide_id):
                    pass
            except HistosynthError:
                pass
        return self._facts[slide_id]

    @contextmanager
    def opened(self, slide_id: str) -> Iterator[SlideReader]:
        """Open a slide, or use the one that is open; it stays open as long as others are not needed more.

        Raises:
            UnreadableSlideError: the slide cannot be opened.
            KeyError: there is no such slide.
        """
        entry = self._acquire(slide_id)
        try:
            yield entry.slide
        finally:
            with self._lock:
                entry.users -= 1
                self._close_idle()

    def _acquire(self, slide_id: str) -> _Opened:
        with self._lock:
            one_opens = self._one_opens.setdefault(slide_id, Lock())
        with one_opens:
            with self._lock:
                if entry := self._opened.get(slide_id):
                    entry.users += 1
                    self._opened.move_to_end(slide_id)
                    return entry
            slide = self._open(slide_id)
            with self._lock:
                entry = self._opened[slide_id] = _Opened(slide=slide, users=1)
                return entry

    def _open(self, slide_id: str) -> SlideReader:
        facts = self._facts.get(slide_id)
        if facts and facts.reason:
            raise UnreadableSlideError(facts.reason)
        path = self.paths[slide_id]
        try:
            slide = open_slide(path, mpp=self._mpp)
        except (HistosynthError, OSError) as error:
            self._facts[slide_id] = SlideFacts(frame=None, reason=str(error))
            raise UnreadableSlideError(str(error)) from None
        self._facts[slide_id] = SlideFacts(frame=SlideFrame.of(slide), mpp=slide.mpp)
        return slide

    def _close_idle(self) -> None:
        """Close the slides used least recently, if too many are open; one in use is left."""
        idle = [name for name, entry in self._opened.items() if entry.users == 0]
        for name in idle[: max(0, len(self._opened) - _MAX_OPEN)]:
            self._opened.pop(name).slide.close()

    def close(self) -> None:
        """Close all slides that are not in use."""
        with self._lock:
            for name in [name for name, entry in self._opened.items() if entry.users == 0]:
                self._opened.pop(name).slide.close()
