"""Facts about a file or a directory, as `histosynth info` prints them."""

from typing import Any

Facts = dict[str, Any]
"""Plain JSON values by name; `kind` comes first."""

KNOWN = (
    "a slide, a folder of slides, outlines, labels, a patch store, a run, a weights file, a report, a comparison, "
    "a reader study, or settings"
)
"""What `describe` recognizes, for messages."""
