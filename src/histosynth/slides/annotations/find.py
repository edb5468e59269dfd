"""The outline file that belongs to a slide, by its name."""

from pathlib import Path

from histosynth.errors import HistosynthError

OUTLINE_SUFFIXES = frozenset({".geojson", ".json", ".xml", ".annotations", ".ndpa"})


def find_outlines(directory: Path, slide_id: str) -> Path | None:
    """The outline file of a slide: its id with a suffix of outlines, or a name that differs by a dotted part only.

    `slide.ndpi.ndpa` and `slide.svs.xml` belong to `slide`, `TCGA-XX.geojson` to `TCGA-XX.<uuid>`, and
    `TCGA-XX.<uuid>.geojson` to `TCGA-XX`.

    Returns:
        The path; None where the slide has none.

    Raises:
        HistosynthError: no such directory, or several files that could be meant.
    """
    if not directory.is_dir():
        raise HistosynthError(f"no folder of outlines '{directory}'; check --outlines")
    files = sorted(
        file
        for file in directory.iterdir()
        if file.suffix.lower() in OUTLINE_SUFFIXES and not file.name.startswith(".") and file.is_file()
    )
    exact = [file for file in files if file.stem == slide_id]
    near = [
        file for file in files if f"{file.stem}.".startswith(f"{slide_id}.") or slide_id.startswith(f"{file.stem}.")
    ]
    found = exact or near
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise HistosynthError(f"slide {slide_id} has several outline files in {directory} ({names}); keep one")
    return found[0] if found else None
