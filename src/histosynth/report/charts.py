"""The charts of the main results. A PNG that shows synthetic patches carries the mark of `store.png`."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from histosynth.report.comparison import PAIR_TITLES, PAIRS, Comparison, Matrix, Results
from histosynth.report.sides import SIDE_TITLES, Plan
from histosynth.store.contact_sheet import grid
from histosynth.store.png import encode_png

INK, MUTED, ACCENT = "#1d2125", "#8b9096", "#a3265e"

# marker, face, edge: as on the page
_MARKERS = {
    "train_vs_held_out": ("o", "white", INK),
    "fake_vs_train": ("D", MUTED, MUTED),
    "fake_vs_held_out": ("o", ACCENT, ACCENT),
}


def write_charts(directory: Path, plan: Plan, results: Results, *, shown: int) -> None:
    """Write the charts, and a contact sheet of the first `shown` patches of each side and label as PNG."""
    directory.mkdir()
    charts = chart_files(distance_chart(results.rows), name="distances")
    if results.matrices:
        charts |= chart_files(matrix_chart(results.matrices), name="labels")
    for name, content in charts.items():
        (directory / name).write_bytes(content)
    for name, side in plan.sides.items():
        for label, rows in side.rows.items():
            if len(rows):
                sheet = grid(side.store.images(rows[:shown]), columns=6)
                file = directory / f"{name}-{quote(label, safe=' ')}.png"
                file.write_bytes(encode_png(sheet, side.store.mark))


def distance_chart(rows: Mapping[str, Mapping[str, Comparison]]) -> Figure:
    """Return a chart with one row per set: its three Fréchet distances with their intervals."""
    figure = Figure(figsize=(7, 0.8 + 0.42 * len(rows)), dpi=200, layout="constrained")
    axes = figure.add_subplot()
    for key, (marker, face, edge) in _MARKERS.items():
        points = [(c[key].measures["frechet_distance"], y) for y, c in enumerate(rows.values()) if c[key].n]
        if points:
            axes.hlines(
                [y for _, y in points],
                [interval.low for interval, _ in points],
                [interval.high for interval, _ in points],
                color=edge,
                linewidth=1.4,
            )
            axes.scatter(
                [interval.value for interval, _ in points],
                [y for _, y in points],
                marker=marker,
                facecolor=face,
                edgecolor=edge,
                label=PAIR_TITLES[key],
                zorder=3,
            )
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set(xlabel="Fréchet distance", ylim=(len(rows) - 0.5, -0.5), xlim=(0, None))
    axes.grid(axis="y", color="#e4e4e4")
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False, fontsize="small")
    return figure


def matrix_chart(matrices: Mapping[str, Matrix]) -> Figure:
    """Return the matrices of distances between labels, side by side on one color scale."""
    labels = next(iter(matrices.values())).labels
    side = 1.2 + 0.75 * len(labels)
    figure = Figure(figsize=(side * len(matrices), side), dpi=200, layout="constrained")
    values = {key: np.array(m.frechet_distance, dtype=np.float64) for key, m in matrices.items()}
    low, high = (float(f(np.concatenate([v.ravel() for v in values.values()]))) for f in (np.nanmin, np.nanmax))
    middle = (low + high) / 2
    for index, (key, value) in enumerate(values.items(), start=1):
        axes = figure.add_subplot(1, len(matrices), index)
        axes.imshow(value, cmap="RdPu_r", vmin=low, vmax=high + 0.35 * (high - low))
        for (i, j), cell in np.ndenumerate(value):
            text, color = ("–", INK) if np.isnan(cell) else (f"{cell:.1f}", "white" if cell < middle else INK)
            axes.text(j, i, text, ha="center", va="center", color=color, fontsize="small")
        row_side, column_side = PAIRS[key]
        axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right", fontsize="small")
        axes.set_yticks(range(len(labels)), labels, fontsize="small")
        axes.set_ylabel(SIDE_TITLES[row_side])
        axes.set_title(SIDE_TITLES[column_side], fontsize="medium")
        axes.tick_params(length=0)
    return figure


def chart_files(figure: Figure, *, name: str) -> dict[str, bytes]:
    """Return a chart as `name.png` and `name.svg`; the bytes depend only on the chart: no date, no random names."""
    files = {}
    with rc_context({"svg.hashsalt": "histosynth"}):
        for kind, omitted in (("png", ["Software"]), ("svg", ["Date", "Creator"])):
            buffer = BytesIO()
            figure.savefig(buffer, format=kind, metadata=dict.fromkeys(omitted))
            files[f"{name}.{kind}"] = buffer.getvalue()
    return files
