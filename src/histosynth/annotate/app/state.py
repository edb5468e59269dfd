"""The state that all routes share. One per server process."""

import json
import os
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from anyio import CapacityLimiter
from fastapi import Request

from histosynth.annotate.links import Links
from histosynth.annotate.preview import Previewer
from histosynth.annotate.workspace import Workspace
from histosynth.web_server.limits import RateLimiter

VIEWER = "viewer"
"""Whose link it is on a server that only shows."""
_ACTIVE_S = 60
_CACHE_BYTES = 256 << 20
_AUDIT = "audit.jsonl"


class ImageCache:
    """Encoded images, the least recently used discarded first."""

    def __init__(self, max_bytes: int = _CACHE_BYTES) -> None:
        self._max_bytes, self._bytes = max_bytes, 0
        self._images: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple[object, ...]) -> bytes | None:
        """Return an image, if it is here."""
        with self._lock:
            if (image := self._images.get(key)) is not None:
                self._images.move_to_end(key)
            return image

    def put(self, key: tuple[object, ...], image: bytes) -> None:
        """Keep an image."""
        with self._lock:
            if key not in self._images:
                self._images[key] = image
                self._bytes += len(image)
            while self._bytes > self._max_bytes:
                self._bytes -= len(self._images.popitem(last=False)[1])


@dataclass(frozen=True, kw_only=True)
class AppState:
    """The objects that routes work with."""

    workspace: Workspace
    links: Links
    previewer: Previewer
    page: Path
    """Folder of the built page."""
    read_only: bool
    images: ImageCache = field(default_factory=ImageCache)
    invalid_links: RateLimiter = field(default_factory=lambda: RateLimiter(burst=10, per_second=1 / 60))
    """Per network: ten guesses, then one per minute."""
    strokes: RateLimiter = field(default_factory=lambda: RateLimiter(burst=300, per_second=20))
    """Per annotator: faster than anyone can draw."""
    rejections: RateLimiter = field(default_factory=lambda: RateLimiter(burst=60, per_second=1))
    """Per network: lines of the audit log, so that rejections do not fill the disk."""
    drawing: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(os.cpu_count() or 1))
    """Threads that draw images. More would decode the same part of a slide at the same time."""
    _seen: dict[tuple[str, str], float] = field(default_factory=dict)
    _audit_lock: Lock = field(default_factory=Lock)

    def see(self, annotator: str, slide_id: str) -> None:
        """Remember that an annotator has a slide open."""
        self._seen[slide_id, annotator] = time.monotonic()

    def active(self, slide_id: str) -> list[str]:
        """Return who has had a slide open within a minute."""
        since = time.monotonic() - _ACTIVE_S
        seen = list(self._seen.items())
        return sorted(name for (of, name), at in seen if of == slide_id and at >= since)

    def audit(self, actor: str, event: str, *, address: str, detail: str = "") -> None:
        """Add a line to `OUTLINES/audit.jsonl`. A log that cannot be written stops nobody from drawing."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        fields = {"at": at, "actor": actor, "event": event, "address": address, "detail": detail}
        line = json.dumps(fields, ensure_ascii=False)
        try:
            with self._audit_lock, (self.workspace.folder / _AUDIT).open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError:
            pass


def app_state(request: Request) -> AppState:
    """Return the state of the app that serves this request."""
    state: AppState = request.app.state.annotate
    return state
