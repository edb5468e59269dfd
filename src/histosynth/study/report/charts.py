"""The charts of a reader study's report, as SVG that uses the colors of the page, light or dark."""

import re
from collections.abc import Sequence
from io import StringIO

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from histosynth.study.analysis.schema import StudyReport
from histosynth.study.analysis.table import Table
from histosynth.study.statistics.calibration import CONFIDENCES
from histosynth.study.statistics.proportion import proportion

INK, SOFT, HAIR, ACCENT, REAL, ZONE = "#1d2125", "#5c6269", "#dcd9d2", "#a3265e", "#2f6f8f", "#f5f3ee"
_NAMES = {INK: "ink", SOFT: "soft", HAIR: "hair", ACCENT: "accent", REAL: "real", ZONE: "wash"}
_WIDTH = 4.3  # inches: text is readable on a phone
_PARTS = 5  # of the session
_MAX_NAME_LENGTH = 18


def charts(report: StudyReport, table: Table) -> dict[str, str]:
    """Return the SVG of each chart by name; a chart without data is left out."""
    figures = {
        "accuracy": _accuracy(report),
        "roc": _roc(report),
        "confidence": _confidence(report),
        "calibration": _calibration(report),
        "learning": _learning(table),
        "time": _time(table),
    }
    return {name: _svg(figure) for name, figure in figures.items() if figure}


def _svg(figure: Figure) -> str:
    """Return SVG without header, date and size; text stays text, and colors become the page's CSS variables."""
    buffer = StringIO()
    with rc_context({"svg.hashsalt": "histosynth", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)
    for color, name in _NAMES.items():
        svg = svg.replace(color, f"var(--{name})")
    return svg


def _new(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(SOFT)
    axes.tick_params(colors=SOFT, labelcolor=INK, labelsize=9)
    axes.xaxis.label.set(color=INK, size=9)
    axes.yaxis.label.set(color=INK, size=9)
    return figure, axes


def _name_rows(axes: Axes, names: Sequence[str], *, first: int) -> None:
    """Label rows with names as they are, `$` included; long names are shortened."""
    short = [name if len(name) <= _MAX_NAME_LENGTH else f"{name[: _MAX_NAME_LENGTH - 1]}…" for name in names]
    axes.set_yticks(range(first, first + len(names)), short, parse_math=False)


def _chance(axes: Axes, report: StudyReport, *, vertical: bool) -> None:
    half, margin = 50.0, 100 * report.declared.margin
    span, line = (axes.axvspan, axes.axvline) if vertical else (axes.axhspan, axes.axhline)
    span(half - margin, half + margin, color=ZONE, linewidth=0, zorder=0)
    line(half, color=SOFT, linewidth=1, linestyle=(0, (4, 3)), zorder=1)


def _accuracy(report: StudyReport) -> Figure:
    rows = [
        (name, facts.accuracy.value or 0.0, facts.accuracy.low, facts.accuracy.high, INK)
        for name, facts in report.readers.items()
    ]
    if len(rows) > 1:
        rows += [(p.scope, p.value, p.low, p.high, ACCENT) for p in report.pooled]
    figure, axes = _new(0.7 + 0.3 * len(rows))
    _chance(axes, report, vertical=True)
    for y, (_, value, low, high, color) in enumerate(rows):
        axes.hlines(y, 100 * low, 100 * high, color=color, linewidth=1.6)
        axes.plot(100 * value, y, "o" if color == INK else "D", color=color, markersize=6)
    _name_rows(axes, [row[0] for row in rows], first=0)
    axes.set(xlim=(0, 100), ylim=(len(rows) - 0.5, -0.5), xlabel="correct (%)")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return figure


def _roc(report: StudyReport) -> Figure | None:
    curves = [facts.roc for facts in report.readers.values() if facts.roc]
    if not curves:
        return None
    figure, axes = _new(4.0)
    axes.plot([0, 100], [0, 100], color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
    for roc in curves:
        x, y = [100 * v for v in roc.false_positives], [100 * v for v in roc.true_positives]
        axes.plot(x, y, color=INK, linewidth=1.1, alpha=0.75, marker="o", markersize=2.5)
    axes.set(xlim=(0, 100), ylim=(0, 100), aspect="equal", xlabel="real patches called synthetic (%)")
    axes.set_ylabel("synthetic patches called synthetic (%)")
    return figure


def _confidence(report: StudyReport) -> Figure | None:
    counts = {"real": report.confidence.counts_real, "synthetic": report.confidence.counts_synthetic}
    figure, axes = _new(2.6)
    for (kind, values), shift, color in zip(counts.items(), (-0.2, 0.2), (REAL, ACCENT), strict=True):
        total = max(sum(values), 1)
        axes.bar([k + shift for k in CONFIDENCES], [100 * v / total for v in values], 0.38, color=color, label=kind)
    axes.set(xlabel="confidence (1 = a guess, 5 = certain)", ylabel="share of readings (%)")
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    return figure


def _calibration(report: StudyReport) -> Figure:
    figure, axes = _new(2.6)
    _chance(axes, report, vertical=False)
    defined = [(k, share) for k, share in report.calibration.items() if share.value is not None]
    for k, share in defined:
        axes.vlines(k, 100 * share.low, 100 * share.high, color=INK, linewidth=1.4)
        axes.plot(k, 100 * (share.value or 0.0), "o", color=INK, markersize=6)
        axes.annotate(f"{share.n}", (k, 2), ha="center", fontsize=8, color=SOFT)
    axes.set(
        xlim=(0.5, 5.5), ylim=(0, 100), xlabel="confidence (number of readings at the bottom)", ylabel="correct (%)"
    )
    axes.set_xticks(list(CONFIDENCES))
    return figure


def _learning(table: Table) -> Figure | None:
    """Draw accuracy by fifths of the session."""
    parts: list[list[bool]] = [[] for _ in range(_PARTS)]
    for name in table.readers:
        own = table.of_reader(name)
        for i, reading in enumerate(own):
            parts[i * _PARTS // len(own)].append(reading.correct)
    if not all(parts):
        return None
    figure, axes = _new(2.6)
    axes.axhline(50, color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
    shares = [proportion(sum(part), len(part)) for part in parts]
    axes.plot(
        range(1, _PARTS + 1), [100 * (p.value or 0) for p in shares], color=INK, linewidth=1, marker="o", markersize=5
    )
    axes.vlines(
        range(1, _PARTS + 1), [100 * p.low for p in shares], [100 * p.high for p in shares], color=INK, linewidth=1.4
    )
    axes.set(ylim=(0, 100), xlabel="part of the session", ylabel="correct (%)")
    axes.set_xticks(range(1, _PARTS + 1), ["first fifth", "", "third", "", "last"])
    return figure


def _time(table: Table) -> Figure | None:
    timed = [[r.seconds for r in table.of_reader(name) if r.seconds is not None] for name in table.readers]
    if not any(timed):
        return None
    figure, axes = _new(0.8 + 0.3 * len(timed))
    axes.boxplot(
        timed,
        orientation="horizontal",
        whis=(5, 95),
        showfliers=False,
        widths=0.55,
        medianprops={"color": ACCENT, "linewidth": 2},
        boxprops={"color": INK},
        whiskerprops={"color": INK},
        capprops={"color": INK},
    )
    _name_rows(axes, table.readers, first=1)
    axes.set(xlabel="seconds per case", xlim=(0, None))
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    return figure
