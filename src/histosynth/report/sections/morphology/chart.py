"""Charts of the morphology: nuclei outlined on a patch, and the distributions of their features on all sides."""

from collections.abc import Mapping
from io import BytesIO

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from histosynth.metrics.morphology import MORPHOLOGY_FEATURES, Morphology, Nuclei
from histosynth.report.charts import ACCENT, INK, MUTED
from histosynth.report.sides import SIDE_TITLES, SideName
from histosynth.store.contact_sheet import shown_px
from histosynth.store.png import encode_png

_OUTLINE = (0, 229, 196)  # a color of no stain
_COLORS: Mapping[SideName, str] = {"held_out": INK, "train": MUTED, "fake": ACCENT}
_SHOWN = (0.5, 99.5)  # percentiles at the ends of an axis, so that a few merged nuclei do not compress it
_MAX_POINTS = 400


def draw_nuclei(image: NDArray[np.uint8], nuclei: Nuclei, *, texts: Mapping[str, str] | None = None) -> bytes:
    """Return a PNG of an (H, W, 3) patch, enlarged by pixel repetition, with a thin outline of each of its nuclei.

    `texts` are the texts of the PNG: for a synthetic patch, the mark of its store.
    """
    factor = max(2, shown_px(image.shape[1]) // image.shape[1])
    sheet = image.repeat(factor, axis=0).repeat(factor, axis=1)
    rows, columns = (
        np.arange(large) * small // large for large, small in zip(sheet.shape[:2], nuclei.labels.shape, strict=True)
    )
    labels = np.pad(nuclei.labels[np.ix_(rows, columns)], 1, mode="edge")
    inner = labels[1:-1, 1:-1]
    others = (labels[:-2, 1:-1], labels[2:, 1:-1], labels[1:-1, :-2], labels[1:-1, 2:])
    sheet[(inner > 0) & np.any([inner != other for other in others], axis=0)] = _OUTLINE
    return encode_png(sheet, texts)


def morphology_chart(rows: Mapping[str, Mapping[SideName, Morphology]]) -> bytes:
    """Return a PNG with a row per label and a column per feature: the share of nuclei (or patches) up to a value.

    The area between two curves is the Wasserstein distance between the two sides.
    """
    figure = Figure(figsize=(1.75 * len(MORPHOLOGY_FEATURES), 0.9 + 1.3 * len(rows)), dpi=160, layout="constrained")

    # A panel per feature and label, with a curve per side.
    panels = figure.subplots(len(rows), len(MORPHOLOGY_FEATURES), squeeze=False, sharex="col", sharey=True)
    for column, (feature, (title, unit)) in enumerate(MORPHOLOGY_FEATURES.items()):
        pooled = np.concatenate([side.values(feature) for sides in rows.values() for side in sides.values()])
        for row, (label, sides) in enumerate(rows.items()):
            axes = panels[row, column]
            for name, side in sides.items():
                values = side.values(feature)
                if len(values):
                    shares = np.linspace(0, 1, min(len(values), _MAX_POINTS) + 1)[1:]
                    points = np.quantile(values, shares, method="inverted_cdf")
                    axes.step(points, shares, where="post", color=_COLORS[name], linewidth=1.2)
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize="x-small", color="#e4e4e4")
            axes.set_yticks([0, 0.5, 1])
            axes.grid(color="#e4e4e4", linewidth=0.6)
            if not column:
                axes.set_ylabel(f"{label}\ncumulative share", fontsize="small")
        panels[0, column].set_title(title, fontsize="medium")
        panels[-1, column].set_xlabel(unit, fontsize="x-small")
        if len(pooled):
            low, high = np.percentile(pooled, _SHOWN)
            panels[0, column].set_xlim(low, high if high > low else low + 1)

    # One legend for all panels.
    present = [name for name in _COLORS if any(name in sides for sides in rows.values())]
    lines = [Line2D([], [], color=_COLORS[name], label=SIDE_TITLES[name]) for name in present]
    figure.legend(handles=lines, loc="outside upper center", ncols=3, frameon=False, fontsize="small")
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
