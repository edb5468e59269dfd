"""What is this? Tells slides, outlines, labels, stores, runs, weights, reports, settings apart, and sums each up."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from histosynth.config import load_settings, presets
from histosynth.errors import HistosynthError, did_you_mean
from histosynth.rundir import MANIFEST, read_manifest

Facts = dict[str, Any]
"""What `histosynth info` prints; `kind` comes first. Plain JSON values."""

KNOWN = (
    "a slide, a folder of slides, outlines, labels, a patch store, a run, a weights file, a report, a comparison, "
    "a reader study, or settings"
)
REPORT = "report.json"
COMPARISON = "compare.json"
EXPORT = "export.json"


def describe(path: Path) -> Facts:
    """What the file, folder or preset is, and what it holds.

    Raises:
        HistosynthError: nothing is there, it is damaged, or it is nothing that histosynth knows.
    """
    if path.is_file() and path.name in (MANIFEST, REPORT, "report.html", COMPARISON, "compare.html"):
        path = path.parent
    if path.is_dir():
        return _directory(path)
    if str(path) in presets() or path.suffix == ".toml":
        return _settings(path)
    if not path.exists():
        raise HistosynthError(f"nothing at '{path}'{did_you_mean(str(path), presets())}; name {KNOWN}")
    suffix = path.suffix.lower()
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix](path)
    return _slide(path)


def _directory(path: Path) -> Facts:
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


def _export(path: Path) -> Facts:
    try:
        record: Facts = json.loads((path / EXPORT).read_text("utf-8"))
        return {"kind": "export of a store", **{key: record[key] for key in record if key != "kind"}}
    except (ValueError, TypeError) as error:
        raise HistosynthError(f"{path / EXPORT} is damaged ({error}); export anew") from error


def _store(path: Path, manifest: Facts) -> Facts:
    from histosynth.store.store import Store

    store = Store(path)
    mpp = {round(value, 4) for value in store.column("mpp") if value is not None}
    return {
        "kind": "sample store" if manifest.get("synthetic") else "patch store",
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


def _study(path: Path, manifest: Facts) -> Facts:
    """Its design. Which case is real, and what was answered, is not for a glance in passing."""
    settings = manifest["settings"]
    cases: dict[str, dict[str, int]] = {}
    for cell in manifest["cases"]:
        name = f"{cell['source']}, {cell['label']}" if cell["label"] else cell["source"]
        cases.setdefault(cell["part"], {})[name] = cell["cases"]
    return {
        "kind": "reader study",
        **{key: settings[key] for key in ("title", "readers", "repeats", "margin", "alpha", "seed")},
        "cases": cases,
        "side_px": manifest["patch_px"],
        "mpp": manifest["mpp"],
        "patients": {str(side["label"]): side["patients"] for side in manifest["patients"]},
        "warnings": manifest["warnings"],
    }


def _run(path: Path, manifest: Facts) -> Facts:
    from histosynth.training.log import read_stats

    keys = ("status", "images", "total_images", "labels", "image_px", "mpp", "data_hash")
    return {
        "kind": "run",
        **{key: manifest[key] for key in keys if key in manifest},
        "last": next(reversed(read_stats(path)), None),
        "weights": sorted(file.name for file in (path / "weights").glob("*.safetensors")),
    }


def _report(path: Path) -> Facts:
    try:
        content = json.loads((path / REPORT).read_text("utf-8"))
        stores = {side: content["stores"][side]["path"] for side in ("real", "fake")}
        cautions = [caution["text"] for caution in content["cautions"]]
        return {
            "kind": "report",
            **stores,
            "labels": list(content["labels"]),
            "verdict": content["verdict"],
            "cautions": cautions,
        }
    except (ValueError, KeyError, TypeError) as error:
        raise HistosynthError(f"{path / REPORT} is damaged, or no report of histosynth; evaluate again") from error


def _comparison(path: Path) -> Facts:
    try:
        content = json.loads((path / COMPARISON).read_text("utf-8"))
        return {
            "kind": "comparison",
            "models": {name: model["report"] for name, model in content["models"].items()},
            "labels": list(content["labels"]),
            "verdict": content["verdict"],
            "cautions": [caution["text"] for caution in content["cautions"]],
        }
    except (ValueError, KeyError, TypeError) as error:
        raise HistosynthError(f"{path / COMPARISON} is damaged; compare the reports again") from error


def _weights(path: Path) -> Facts:
    from histosynth.training.checkpoint import read_origin

    origin = read_origin(path)
    heeded = {"model", "gan" if origin.settings.model.kind == "progan" else "diffusion", "train"}
    return {
        "kind": "weights",
        "of": origin.settings.model_role,
        "images": origin.images,
        "labels": origin.labels,
        "image_px": origin.image_px,
        "mpp": origin.mpp,
        "run": origin.run,
        "data_hash": origin.data_hash,
        "settings": origin.settings.model_dump(mode="json", include=heeded),
    }


def _settings(path: Path) -> Facts:
    return {"kind": "settings", **load_settings(path).model_dump(mode="json")}


def _labels(path: Path) -> Facts:
    from histosynth.cohort.labels import read_labels

    table = read_labels(path)
    return {
        "kind": "labels",
        "column": table.column,
        "labels": dict(sorted(Counter(row.label for row in table.rows).items())),
        "patients": len({row.patient for row in table.rows}),
        "unlabeled": table.unlabeled_rows,
    }


def _outlines(path: Path) -> Facts:
    from histosynth.slides.annotations import examine

    return {"kind": "outlines", **examine(path)}


def _folder(path: Path) -> Facts:
    from histosynth.slides.annotations import OUTLINE_SUFFIXES
    from histosynth.slides.files import find_slides

    # .json may be anything, so that it does not make a folder one of outlines
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


def _slide(path: Path) -> Facts:
    import openslide

    from histosynth.slides.files import IMAGE_SUFFIXES, SLIDE_SUFFIXES, TIFF_SUFFIXES
    from histosynth.slides.open import open_slide
    from histosynth.slides.tissue import tissue_mask

    vendor = openslide.OpenSlide.detect_format(path)
    if vendor is None and path.suffix.lower() not in IMAGE_SUFFIXES | SLIDE_SUFFIXES | TIFF_SUFFIXES:
        raise HistosynthError(f"'{path}' is nothing that histosynth knows; name {KNOWN}")
    with open_slide(path) as slide:
        facts: Facts = {
            "kind": "slide" if vendor or len(slide.levels) > 1 else "image",
            "slide_id": slide.slide_id,
            "width_px": slide.width_px,
            "height_px": slide.height_px,
            "mpp": slide.mpp,
            "tissue": round(float(tissue_mask(slide).mask.mean()), 3),
        }
        if vendor or len(slide.levels) > 1:
            facts |= {"vendor": vendor, "level_downsamples": [round(level.downsample, 3) for level in slide.levels]}
    return facts


_BY_SUFFIX: dict[str, Callable[[Path], Facts]] = {
    ".safetensors": _weights,
    ".geojson": _outlines,
    ".json": _outlines,
    ".xml": _outlines,
    ".annotations": _outlines,
    ".ndpa": _outlines,
    ".csv": _labels,
    ".tsv": _labels,
}
