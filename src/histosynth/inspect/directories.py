"""Facts about directories: stores, runs, studies, reports, comparisons, exports, and folders of slides or outlines."""

from collections import Counter
from pathlib import Path
from typing import Any

from histosynth.errors import HistosynthError
from histosynth.inspect.facts import KNOWN, Facts
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
    from histosynth.study.design.manifest import check_study_manifest

    study = check_study_manifest(path, manifest)
    cases: dict[str, dict[str, int]] = {}
    for cell in study.cases:
        name = f"{cell.source}, {cell.label}" if cell.label else cell.source
        cases.setdefault(cell.part, {})[name] = cell.cases
    shown = {"title", "readers", "repeats", "margin", "area_margin", "alpha", "seed"}
    return {
        "kind": "reader study",
        **study.settings.model_dump(include=shown),
        "cases": cases,
        "side_px": study.patch_px,
        "mpp": study.mpp,
        "patients": {str(side.label): side.patients for side in study.patients},
        "warnings": study.warnings,
    }


def _report(path: Path) -> Facts:
    from histosynth.report.schema import read_report

    report, _ = read_report(path)
    return {
        "kind": "report",
        **{side: report.stores[side].path for side in ("real", "fake")},
        "labels": list(report.labels),
        "verdict": report.verdict,
        "cautions": [caution.text for caution in report.cautions],
    }


def _comparison(path: Path) -> Facts:
    from histosynth.report.compare.schema import read_comparison

    comparison = read_comparison(path)
    return {
        "kind": "comparison",
        "models": {name: model.report for name, model in comparison.models.items()},
        "labels": list(comparison.labels),
        "verdict": comparison.verdict,
        "cautions": [caution.text for caution in comparison.cautions],
    }


def _export(path: Path) -> Facts:
    from histosynth.convert.export import read_export

    return {**read_export(path).model_dump(), "kind": "export of a store"}


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
