"""The patches of all models side by side, for each label, and the chart of their results.

The patches are those that entered the results: the first few of each side, in the order of its report. A report may
come from anyone, so a store that it names is opened only inside the report's directory or a directory that the caller
names. A store elsewhere, one that is missing, and one that now holds other patches is not shown, and a caution gives
the reason.
"""

import os.path
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from histosynth.errors import HistosynthError
from histosynth.remote import url_of
from histosynth.report.charts import ACCENT, INK, MUTED
from histosynth.report.compare.reports import ModelReport, labels_of
from histosynth.report.compare.schema import ComparisonFacts, Row
from histosynth.report.compare.wording import SIDES, measure_name
from histosynth.report.comparison import Comparison
from histosynth.report.schema import StoreFacts
from histosynth.report.sides import SIDE_TITLES, Side, SideName, side_of
from histosynth.store.contact_sheet import GAP_PX, grid
from histosynth.store.png import encode_png, synthetic_mark
from histosynth.store.store import Store
from histosynth.text import printable

CHART_MEASURES = ("frechet_distance", "precision", "recall")
_HEAD_PX = 26
_COLUMNS = 4


@dataclass(frozen=True, kw_only=True)
class ShownSide:
    """A side whose patches can be shown, with its title."""

    title: str
    side: Side


def shown_sides(
    models: Sequence[ModelReport], *, reference: SideName, stores: Sequence[Path] = ()
) -> tuple[list[ShownSide], list[str]]:
    """Return the sides to show, real patches first, and the reason for each that cannot be shown.

    Only stores inside the directory of their report, or inside one of the directories `stores`, are opened.
    """
    labels = labels_of(models)
    requested = [(SIDE_TITLES[reference], reference, models[0], models[0].facts.stores["real"])]
    requested += [(f"{model.name}, synthetic", "fake", model, model.facts.stores["fake"]) for model in models]
    shown, missing = [], []
    for title, name, model, facts in requested:
        try:
            store = _unchanged(facts, folders=[model.path, *stores])
            shown.append(ShownSide(title=title, side=side_of(store, name, labels=labels)))
        except HistosynthError as error:
            missing.append(f"Patches not shown ({title}): {error}.")
    return shown, missing


def _unchanged(facts: StoreFacts, *, folders: Sequence[Path]) -> Store:
    """Open the local store that a report names, if it lies in one of the folders and holds the measured patches."""
    path = Path(facts.path)
    if url := url_of(path):
        raise HistosynthError(
            f"the report names the remote store {url.partition('?')[0]}, and addresses in a report are not fetched; "
            "download the store and evaluate the copy"
        )
    if not any(_lies_in(path, folder) for folder in folders):
        raise HistosynthError(
            f"the report names the store {printable(facts.path)}, which is not inside the report's directory and is "
            "not read; if you trust the report, name the store or a folder above it with --stores"
        )
    store = Store(path)
    if store.content_hash() != facts.sha256:
        raise HistosynthError(f"{facts.path} no longer holds the patches that were measured")
    return store


def _lies_in(path: Path, folder: Path) -> bool:
    """Return True if the path is in the folder as it is spelled, and also after links are followed."""
    spelled = _spelled(path)  # without a look at the disk, since the path may be on a remote mount
    if not any(spelled.is_relative_to(root) for root in (_spelled(folder), folder.resolve())):
        return False
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a circle of links, or a name that no file can have
        return False


def _spelled(path: Path) -> Path:
    return Path(os.path.normpath(path.absolute()))


def contact_sheet(shown: Sequence[ShownSide], label: str, *, count: int) -> bytes:
    """Return a PNG of the first `count` patches of each side, one block per side under its title."""
    # A white sheet as high as the highest block.
    present = [s for s in shown if len(s.side.rows[label])]
    blocks = [grid(s.side.store.images(s.side.rows[label][:count]), columns=_COLUMNS) for s in present]
    height = max(len(block) for block in blocks)
    image = np.full((_HEAD_PX + height, sum(b.shape[1] + 4 * GAP_PX for b in blocks) - 4 * GAP_PX, 3), 255, np.uint8)

    # Titles and blocks from left to right.
    canvas = Image.fromarray(image)
    draw, x = ImageDraw.Draw(canvas), 0
    for s, block in zip(present, blocks, strict=True):
        font = _font(s.title, width=block.shape[1])
        draw.text((x, 3), s.title, font=font, fill=ACCENT if s.side.name == "fake" else INK)
        canvas.paste(Image.fromarray(block), (x, _HEAD_PX))
        x += block.shape[1] + 4 * GAP_PX
    generators = dict.fromkeys(generator for s in present for generator in s.side.store.generators)
    return encode_png(np.asarray(canvas), synthetic_mark(", ".join(generators)) if generators else None)


def _font(text: str, *, width: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the largest of a few fonts in which the text is no wider than `width`."""
    fonts = [ImageFont.load_default(size) for size in (16, 13, 10, 8)]
    return next((font for font in fonts if font.getlength(text) <= width), fonts[-1])


def intervals_chart(comparison: ComparisonFacts) -> Figure:
    """Return a chart of Fréchet distance, precision and recall per model, with intervals and the floor as a band."""
    # One group of rows per set, one row per model.
    rows = {name: row for name, row in comparison.rows.items() if models_with_results(row, comparison)}
    lines = sum(len(models_with_results(row, comparison)) + 1 for row in rows.values())
    figure = Figure(figsize=(9, 0.9 + 0.26 * lines), dpi=200, layout="constrained")
    axes = figure.subplots(1, len(CHART_MEASURES), sharey=True)
    ticks: dict[int, str] = {}
    y = 0
    for name, row in rows.items():
        ticks[y] = name
        models = models_with_results(row, comparison)
        for index, (model, result) in enumerate(models.items(), start=1):
            ticks[y + index] = model
            for measure, axis in zip(CHART_MEASURES, axes, strict=True):
                interval = result.measures[measure]
                axis.hlines(y + index, interval.low, interval.high, color=ACCENT, linewidth=1.4)
                axis.scatter([interval.value], [y + index], color=ACCENT, s=22, zorder=3, clip_on=False)
        if row.floor and comparison.reference == "held_out":
            for measure, axis in zip(CHART_MEASURES, axes, strict=True):
                floor = row.floor.measures[measure]
                span = (y + 0.5, y + len(models) + 0.5)
                axis.fill_betweenx(span, floor.low, floor.high, color=MUTED, alpha=0.18, linewidth=0)
                axis.vlines(floor.value, *span, color=INK, linewidth=1)
        y += len(models) + 1

    # Axes and title.
    for measure, axis in zip(CHART_MEASURES, axes, strict=True):
        axis.set_xlabel(measure_name(measure, extractor=comparison.extractor.name))
        axis.set_xlim(0, None if measure == "frechet_distance" else 1.02)
        axis.spines[["top", "left", "right"]].set_visible(False)
        axis.tick_params(axis="y", length=0)
        axis.tick_params(axis="x", labelsize="small")
        axis.locator_params(axis="x", nbins=5)
    axes[0].set_yticks(list(ticks), list(ticks.values()), fontsize="small", parse_math=False)
    for text in axes[0].get_yticklabels():
        text.set_fontweight("bold" if text.get_text() in rows else "normal")
    axes[0].set_ylim(y - 0.5, -0.5)
    title = f"{comparison.extractor.title} features, against {SIDES[comparison.reference]} patients"
    if comparison.reference == "held_out":
        title += "; gray: real training patches"
    figure.suptitle(title, fontsize="small", color=INK)
    return figure


def models_with_results(row: Row, comparison: ComparisonFacts) -> Mapping[str, Comparison]:
    """Return the models of a row that have results, each against the reference."""
    pair = comparison.reference_pair
    main = {name: pairs[pair] for name, pairs in row.models.items() if pair in pairs}
    return {name: result for name, result in main.items() if result.n}
