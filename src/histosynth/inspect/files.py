"""Facts about single files: slides, outlines, labels, weights and settings."""

from collections import Counter
from pathlib import Path

from histosynth.config import load_settings
from histosynth.errors import HistosynthError
from histosynth.inspect.facts import KNOWN, Facts


def slide(path: Path) -> Facts:
    """Return the size, scale, tissue share and levels of a slide or an image."""
    import openslide

    from histosynth.slides.files import KNOWN_SUFFIXES
    from histosynth.slides.open import open_slide
    from histosynth.slides.tissue import tissue_mask

    if path.suffix.lower() not in KNOWN_SUFFIXES and openslide.OpenSlide.detect_format(path) is None:
        raise HistosynthError(f"'{path}' is of no kind that histosynth knows; name {KNOWN}")
    with open_slide(path) as opened:
        vendor = openslide.OpenSlide.detect_format(path)
        facts: Facts = {
            "kind": "slide" if vendor or len(opened.levels) > 1 else "image",
            "slide_id": opened.slide_id,
            "width_px": opened.width_px,
            "height_px": opened.height_px,
            "mpp": opened.mpp,
            "tissue": round(float(tissue_mask(opened).mask.mean()), 3),
        }
        if vendor or len(opened.levels) > 1:
            facts |= {"vendor": vendor, "level_downsamples": [round(level.downsample, 3) for level in opened.levels]}
    return facts


def outlines(path: Path) -> Facts:
    """Return the classes and areas of an outline file."""
    from histosynth.slides.annotations import summarize_outlines

    return {"kind": "outlines", **summarize_outlines(path)}


def labels(path: Path) -> Facts:
    """Return the label counts of a table of labels."""
    from histosynth.cohort.labels import read_labels

    table = read_labels(path)
    return {
        "kind": "labels",
        "column": table.column,
        "labels": dict(sorted(Counter(row.label for row in table.rows).items())),
        "patients": len({row.patient for row in table.rows}),
        "unlabeled": table.unlabeled_rows,
    }


def weights(path: Path) -> Facts:
    """Return the origin of a weights file, with the settings that apply to its kind of model."""
    from histosynth.training.origin import read_origin

    origin = read_origin(path)
    sections = {"model", "gan" if origin.settings.model.kind == "progan" else "diffusion", "train"}
    return {
        "kind": "weights",
        "of": origin.settings.model_role,
        "images": origin.images,
        "labels": origin.labels,
        "image_px": origin.image_px,
        "mpp": origin.mpp,
        "run": origin.run,
        "data_hash": origin.data_hash,
        "settings": origin.settings.model_dump(mode="json", include=sections),
    }


def settings(path: Path) -> Facts:
    """Return every setting of a TOML file or a preset."""
    return {"kind": "settings", **load_settings(path).model_dump(mode="json")}
