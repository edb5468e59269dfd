"""Facts about directories: stores, runs, studies, reports, comparisons, exports, and folders of slides or outlines."""

from collections import Counter
from pathlib import Path
from typing import Any

from histosynth.errors import HistosynthError
from histosynth.inspect.facts import KNOWN, Facts
from histosynth.json_files import parse_json, read_text
from histosynth.rundir import MANIFEST, read_manifest

REPORT = "report.json"
COMPARISON = "compare.json"
EXPORT = "export.json"


def describe_directory(path: Path) -> Facts:
    """Return the facts about a directory, whose kind is that of the file that marks it.

    Raises:
        HistosynthError: that file is damaged, or the directory holds nothing known.
    """
    if (path / REPORT).is_file():
        return _report(path)
    if (path / COMPARISON).is_file():
        return _comparison(path)
    if (path / MANIFEST).is_file():
        for kind, facts in (("patch store", _store), ("run", _run), ("reader study", _study)):
            try:
                manifest = read_manifest(path, kind=kind)
            except HistosynthError:
                continue
            return facts(path, manifest)
        read_manifest(path, kind="store, run, report or study")
    if (path / EXPORT).is_file():
        return _export(path)
    return _folder(path)


def _store(path: Path, manifest: Facts) -> Facts:
    from histosynth.store.store import Store

    store = Store(path)
    mpp = {round(value, 4) for value in store.column("mpp") if value is not None}
    return {
        "kind": "sample store" if store.synthetic else "patch store",
        "patches": len(store),
        "side_px": store.patch_px,
        "mpp": sorted(mpp),
        "labels": _counts(store, "label"),
        "split": _counts(store, "split"),
        "source": _counts(store, "source"),
        "slides": _counts(store, "slide_id"),
        "patients": len(_counts(store, "patient_id")),
        "content_hash": store.content_hash(),
        **{key: manifest[key] for key in ("outlines", "totals", "settings", "made_with") if key in manifest},
    }


def _counts(store: Any, column: str) -> dict[str, int]:
    counts = Counter("none" if value is None else value for value in store.column(column))
    return {} if set(counts) == {"none"} else dict(sorted(counts.items()))


def _run(path: Path, manifest: Facts) -> Facts:
    from histosynth.training.log import read_stats
    from histosynth.training.run import check_run_manifest

    keys = ("status", "images", "total_images", "labels", "image_px", "mpp", "data_hash")
    checked = check_run_manifest(path, manifest)
    return {
        "kind": "run",
        **{key: getattr(checked, key) for key in keys},
        "last": next(reversed(read_stats(path)), None),
        "weights": sorted(file.name for file in (path / "weights").glob("*.safetensors")),
    }


def _study(path: Path, manifest: Facts) -> Facts:
    """Return the design of a study, without truth and readings: they stay blinded until the analysis."""
    settings = manifest["settings"]
    cases: dict[str, dict[str, int]] = {}
    for cell in manifest["cases"]:
        name = f"{cell['source']}, {cell['label']}" if cell["label"] else cell["source"]
        cases.setdefault(cell["part"], {})[name] = cell["cases"]
    return {
        "kind": "reader study",
        **{key: settings[key] for key in ("title", "readers", "repeats", "margin", "area_margin", "alpha", "seed")},
        "cases": cases,
        "side_px": manifest["patch_px"],
        "mpp": manifest["mpp"],
        "patients": {str(side["label"]): side["patients"] for side in manifest["patients"]},
        "warnings": manifest["warnings"],
    }


def _report(path: Path) -> Facts:
    try:
        content = parse_json(read_text(path / REPORT), where=path / REPORT, fix="evaluate again")
        return {
            "kind": "report",
            **{side: content["stores"][side]["path"] for side in ("real", "fake")},
            "labels": list(content["labels"]),
            "verdict": content["verdict"],
            "cautions": [caution["text"] for caution in content["cautions"]],
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise HistosynthError(f"{path / REPORT} is damaged, or not written by histosynth; evaluate again") from error


def _comparison(path: Path) -> Facts:
    try:
        content = parse_json(read_text(path / COMPARISON), where=path / COMPARISON, fix="compare the reports again")
        return {
            "kind": "comparison",
            "models": {name: model["report"] for name, model in content["models"].items()},
            "labels": list(content["labels"]),
            "verdict": content["verdict"],
            "cautions": [caution["text"] for caution in content["cautions"]],
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise HistosynthError(f"{path / COMPARISON} is damaged; compare the reports again") from error


def _export(path: Path) -> Facts:
    try:
        record: Facts = parse_json(read_text(path / EXPORT), where=path / EXPORT, fix="export again")
        return {"kind": "export of a store", **{key: record[key] for key in record if key != "kind"}}
    except (KeyError, TypeError) as error:
        raise HistosynthError(f"{path / EXPORT} is damaged ({error}); export again") from error


def _folder(path: Path) -> Facts:
    from histosynth.slides.annotations import OUTLINE_SUFFIXES
    from histosynth.slides.files import find_slides

    # A .json file may hold anything, so it does not mark a folder of outlines.
    outlines = sorted(file.name for file in path.iterdir() if file.suffix.lower() in OUTLINE_SUFFIXES - {".json"})
    try:
        slides = [slide.name for slide in find_slides([path])]
    except HistosynthError:
        if not outlines:
            raise HistosynthError(f"the folder '{path}' holds nothing that histosynth knows; name {KNOWN}") from None
        return {"kind": "folder of outlines", "outlines": outlines}
    if outlines:
        return {"kind": "folder of slides and outlines", "slides": slides, "outlines": outlines}
    return {"kind": "folder of slides", "slides": slides}
