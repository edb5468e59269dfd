"""Find the outline file of a slide by its name."""

from pathlib import Path

from histosynth.errors import HistosynthError
from histosynth.text import nfc

OUTLINE_SUFFIXES = frozenset({".geojson", ".json", ".xml", ".annotations", ".ndpa"})


def find_outlines(directory: Path, slide_id: str) -> Path | None:
    """Return the outline file of a slide: named by its id plus an outline suffix, up to a further dotted part.

    `slide.ndpi.ndpa` and `slide.svs.xml` belong to `slide`, `TCGA-XX.geojson` to `TCGA-XX.<uuid>`, and
    `TCGA-XX.<uuid>.geojson` to `TCGA-XX`.

    Returns:
        The path; None if the slide has no outline file.

    Raises:
        HistosynthError: the directory does not exist, or several files match.
    """
    if not directory.is_dir():
        raise HistosynthError(f"no folder of outlines '{directory}'; check --outlines")
    files = sorted(
        file
        for file in directory.iterdir()
        if file.suffix.lower() in OUTLINE_SUFFIXES and not file.name.startswith(".") and file.is_file()
    )
    stems = {file: nfc(file.stem) for file in files}
    exact = [file for file, stem in stems.items() if stem == slide_id]
    near = [
        file for file, stem in stems.items() if f"{stem}.".startswith(f"{slide_id}.") or slide_id.startswith(f"{stem}.")
    ]
    matches = exact or near
    if len(matches) > 1:
        names = ", ".join(file.name for file in matches)
        raise HistosynthError(f"slide {slide_id} has several outline files in {directory} ({names}); keep one")
    return matches[0] if matches else None
