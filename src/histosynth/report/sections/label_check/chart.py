"""The chart of the label check: each balanced accuracy with its interval, beside that of random guessing."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from histosynth.report.charts import ACCENT, INK, MUTED
from histosynth.report.sections.label_check.measure import LabelCheck

TITLES: Mapping[str, tuple[str, str]] = {
    "real_on_synthetic": ("real", "synthetic"),
    "real_on_held_out": ("real", "held-out"),
    "synthetic_on_held_out": ("synthetic", "held-out"),
    "both_on_held_out": ("real and synthetic", "held-out"),
}
"""What the classifier was trained on, and what it was tested on."""
QUESTIONS: Mapping[str, list[str]] = {
    "Is the label recognized?": ["real_on_synthetic", "real_on_held_out"],
    "Can a classifier learn from synthetic patches?": ["synthetic_on_held_out", "real_on_held_out", "both_on_held_out"],
}
_MARKERS = {  # marker, face, edge, as on the page: round without synthetic training patches, square with them
    "real_on_synthetic": ("o", ACCENT, ACCENT),
    "real_on_held_out": ("o", "white", INK),
    "synthetic_on_held_out": ("D", ACCENT, ACCENT),
    "both_on_held_out": ("D", MUTED, MUTED),
}


def label_chart(check: LabelCheck) -> Figure:
    """Return a chart of both questions, row by row, on one axis from 0 to 100 %."""
    rows = [(key, *TITLES[key]) for keys in QUESTIONS.values() for key in keys]
    figure = Figure(figsize=(7, 2.6), dpi=200, layout="constrained")
    axes = figure.add_subplot()

    # A heading per question, and a row per test below it.
    positions, y = [], 0.0
    for question, keys in QUESTIONS.items():
        over_grid = {"facecolor": "white", "linewidth": 0, "pad": 1.5}
        axes.text(0, y, question, fontsize="small", fontweight="bold", color=INK, va="center", bbox=over_grid)
        for key in keys:
            y += 1
            positions.append(y)
            marker, face, edge = _MARKERS[key]
            interval = check.accuracy[key].balanced
            axes.hlines(y, 100 * interval.low, 100 * interval.high, color=edge, linewidth=1.4)
            axes.scatter(100 * interval.value, y, marker=marker, facecolor=face, edgecolor=edge, zorder=3)
        y += 1.2

    # Chance, and the axes.
    chance = 100 * check.chance
    axes.axvline(chance, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    axes.annotate(
        "chance",
        (chance, 1),
        xycoords=("data", "axes fraction"),
        ha="center",
        va="bottom",
        fontsize="small",
        color=MUTED,
    )
    axes.set_yticks(positions, [f"{trained} → {tested}" for _, trained, tested in rows])
    axes.set(xlim=(0, 100), ylim=(positions[-1] + 0.6, -0.6), xlabel="balanced accuracy (%); trained on → tested on")
    axes.grid(axis="y", color="#e4e4e4")
    axes.set_axisbelow(True)
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure
