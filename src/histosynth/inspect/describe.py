"""What a path holds: a slide, outlines, labels, a store, a run, weights, a report, a study or settings."""

from collections.abc import Callable
from pathlib import Path

from histosynth.config import presets
from histosynth.errors import HistosynthError, did_you_mean
from histosynth.inspect import directories, files
from histosynth.inspect.facts import KNOWN, Facts
from histosynth.rundir import MANIFEST

_BY_SUFFIX: dict[str, Callable[[Path], Facts]] = {
    ".safetensors": files.weights,
    ".geojson": files.outlines,
    ".json": files.outlines,
    ".xml": files.outlines,
    ".annotations": files.outlines,
    ".ndpa": files.outlines,
    ".csv": files.labels,
    ".tsv": files.labels,
}
_STAND_FOR_DIRECTORY = (MANIFEST, directories.REPORT, "report.html", directories.COMPARISON, "compare.html")


def describe(path: Path) -> Facts:
    """Return the kind and the content of a file, a directory or a preset.

    Raises:
        HistosynthError: the path does not exist, is damaged, or is of no known kind.
    """
    if path.is_file() and path.name in _STAND_FOR_DIRECTORY:
        path = path.parent
    if path.is_dir():
        return directories.describe_directory(path)
    if str(path) in presets() or path.suffix == ".toml":
        return files.settings(path)
    if not path.exists():
        raise HistosynthError(
            f"no file, directory or preset '{path}'{did_you_mean(str(path), presets())}; name {KNOWN}"
        )
    if not path.is_file():
        raise HistosynthError(f"'{path}' is not a regular file; name {KNOWN}")
    return _BY_SUFFIX.get(path.suffix.lower(), files.slide)(path)
