"""The picture of the label check: each balanced accuracy with its interval, and where a guesser would stand."""

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
"""What it was trained on, what it was tested on."""
QUESTIONS: Mapping[str, list[str]] = {
    "Is the label recognized?": ["real_on_synthetic", "real_on_held_out"],
    "Are synthetic patches of use?": ["synthetic_on_held_out", "real_on_held_out", "both_on_held_out"],
}
_SIGNS = {  # marker, face, edge; as in the page: round where samples are tested, square where they teach
    "real_on_synthetic": ("o", ACCENT, ACCENT),
    "real_on_held_out": ("o", "white", INK),
    "synthetic_on_held_out": ("D", ACCENT, ACCENT),
    "both_on_held_out": ("D", MUTED, MUTED),
}


def label_chart(check: LabelCheck) -> Figure:
    """Both questions, row by row, on one axis from 0 to 100 %."""
    rows = [(key, *TITLES[key]) for keys in QUESTIONS.values() for key in keys]
    figure = Figure(figsize=(7, 2.6), dpi=200, layout="constrained")
    axes = figure.add_subplot()
    places, y = [], 0.0
    for question, keys in QUESTIONS.items():
        over_line = {"facecolor": "white", "linewidth": 0, "pad": 1.5}
        axes.text(0, y, question, fontsize="small", fontweight="bold", color=INK, va="center", bbox=over_line)
        for key in keys:
            y += 1
            places.append(y)
            marker, face, edge = _SIGNS[key]
            found = check.accuracy[key].balanced
            axes.hlines(y, 100 * found.low, 100 * found.high, color=edge, linewidth=1.4)
            axes.scatter(100 * found.value, y, marker=marker, facecolor=face, edgecolor=edge, zorder=3)
        y += 1.2
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
    axes.set_yticks(places, [f"{trained} → {tested}" for _, trained, tested in rows])
    axes.set(xlim=(0, 100), ylim=(places[-1] + 0.6, -0.6), xlabel="balanced accuracy (%); trained on → tested on")
    axes.grid(axis="y", color="#e4e4e4")
    axes.set_axisbelow(True)
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure
