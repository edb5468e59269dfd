"""Slide files: supported suffixes, the id of a slide from its file name, and the slides that paths refer to."""

from collections.abc import Sequence
from pathlib import Path

from histosynth.errors import HistosynthError
from histosynth.remote import file_name, url_of
from histosynth.slides.dicom import DICOM_SUFFIX, one_per_series
from histosynth.text import nfc

TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
SLIDE_SUFFIXES = frozenset({".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".czi", DICOM_SUFFIX})
FOREIGN_SUFFIXES = frozenset({".qptiff", ".zvi", ".lif", ".vsi", ".isyntax", ".mds", ".kfb", ".sdpc", ".tmap"})
"""Slides of formats that no reader supports. They are found, so that none is left out silently, and rejected."""
KNOWN_SUFFIXES = TIFF_SUFFIXES | IMAGE_SUFFIXES | SLIDE_SUFFIXES | FOREIGN_SUFFIXES


def slide_id_of(path: Path) -> str:
    """Return the file name, in its composed spelling, without its suffix: `TCGA-DB-5270-01Z-00-DX1` of `….svs`."""
    path = Path(nfc(file_name(path)))
    stem = path.stem if path.suffix.lower() in KNOWN_SUFFIXES else path.name
    stem = stem[:-4] if stem.lower().endswith(".ome") else stem
    return stem.encode("utf-8", "backslashreplace").decode()  # a name may not be valid UTF-8


def find_slides(paths: Sequence[Path], *, unusable: dict[str, str] | None = None) -> list[Path]:
    """Return the slide files at `paths`, sorted by slide id. A folder contributes its slides (not those of subfolders).

    Of the DICOM files of one series, only that of the full resolution is returned. URLs are not checked here; a missing
    slide is reported when it is opened.

    Args:
        paths: files, folders and URLs.
        unusable: receives the reason, by slide id, of each DICOM series whose files lie in several folders; None: such
            a series is an error.

    Raises:
        HistosynthError: a path does not exist, a folder holds no slide, two files have the same slide id, or the files
            of a DICOM series lie in several folders.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            files += _slides_in(path)
        elif url_of(path) or path.exists():
            files.append(path)
        else:
            raise HistosynthError(f"no slide or folder '{path}'; check the path")
    if not files:
        raise HistosynthError("no slide given; name slide files or folders of them")
    by_id: dict[str, Path] = {}
    found, scattered = one_per_series(files)
    for file in found:
        other = by_id.setdefault(slide_id_of(file), file)
        if other.resolve() != file.resolve():
            raise HistosynthError(f"two slides are called '{slide_id_of(file)}': {other} and {file}; rename one")
    for file, reason in scattered.items():
        if unusable is None:
            raise HistosynthError(reason)
        unusable[slide_id_of(file)] = reason
        del by_id[slide_id_of(file)]
    return [by_id[slide_id] for slide_id in sorted(by_id)]


def _slides_in(folder: Path) -> list[Path]:
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    slides = [entry for entry in entries if entry.is_file() and entry.suffix.lower() in KNOWN_SUFFIXES]
    if not slides:
        hint = "; its subfolders are not searched, so name them instead" if any(e.is_dir() for e in entries) else ""
        known = " ".join(sorted(KNOWN_SUFFIXES - FOREIGN_SUFFIXES))
        raise HistosynthError(f"no slide in the folder '{folder}' (looked for {known}){hint}")
    return slides
