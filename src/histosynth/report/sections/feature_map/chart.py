"""The chart of the feature map: a panel per label, a color per side, the mean of each side as an outlined dot.

It is drawn twice from the same points: as SVG on the page (it follows the screen's width and dark mode), and as files.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from histosynth.report.charts import ACCENT, INK, MUTED
from histosynth.report.sections.feature_map.measure import FeatureMap
from histosynth.report.sides import SIDE_TITLES, SideName

MAX_SHOWN = 600
"""Points shown per side, over all labels."""
DRAWING_ORDER: tuple[SideName, ...] = ("train", "held_out", "fake")
"""The last one is on top."""
_TONES = {"train": MUTED, "held_out": INK, "fake": ACCENT}
_MARGIN = 0.04  # of the range, around the points
_COLUMNS = 3

Points = NDArray[np.float64]  # (N, 2)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The part of the plane that every panel shows; both axes have the same scale."""

    left: float
    bottom: float
    width: float
    height: float

    @property
    def box_height(self) -> float:
        """Height of a panel that is 100 wide."""
        return 100 * self.height / self.width

    def box(self, points: Points) -> list[tuple[float, float]]:
        """Return the positions of points in a panel that is 100 wide, from its upper left corner."""
        scale = 100 / self.width
        positions = (points - [self.left, self.bottom + self.height]) * [scale, -scale]
        return [(x, y) for x, y in positions.tolist()]


def shown_points(feature_map: FeatureMap, label: str) -> dict[SideName, Points]:
    """Return the first points of each side in its random order; none is picked by hand."""
    count, sides = max(1, MAX_SHOWN // len(feature_map.points)), feature_map.points[label]
    return {side: sides[side][:count] for side in DRAWING_ORDER if side in sides}


def frame_of(feature_map: FeatureMap) -> Frame:
    """Return the frame that contains all points that are shown."""
    labels = feature_map.points
    shown = np.concatenate([points for label in labels for points in shown_points(feature_map, label).values()])
    low, high = shown.min(axis=0), shown.max(axis=0)
    margin = _MARGIN * float((high - low).max())
    (left, bottom), (width, height) = (low - margin).tolist(), (high - low + 2 * margin).tolist()
    return Frame(left=left, bottom=bottom, width=width, height=height)


def dots(points: Points, frame: Frame) -> str:
    """Return points as an SVG path: strokes of zero length, which round caps turn into dots."""
    return "".join(f"M{x:.1f} {y:.1f}h0" for x, y in frame.box(points))


def map_chart(feature_map: FeatureMap) -> Figure:
    """Return the chart, for presentations and papers."""
    # A grid of panels of equal size.
    frame, columns = frame_of(feature_map), min(len(feature_map.points), _COLUMNS)
    rows = math.ceil(len(feature_map.points) / columns)
    width = 9 / columns
    figure = Figure(
        figsize=(9, 0.6 + rows * (width * min(frame.height / frame.width, 2) + 0.3)), dpi=200, layout="constrained"
    )
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()

    # Points and means of each label.
    for axes, label in zip(panels, feature_map.points, strict=False):
        for side, points in shown_points(feature_map, label).items():
            axes.scatter(*points.T, s=5, color=_TONES[side], alpha=0.55, linewidth=0, label=SIDE_TITLES[side])
        for side, mean in means(feature_map.points[label]).items():
            axes.scatter(*mean, s=60, color=_TONES[side], edgecolor="white", linewidth=1.5, zorder=3)
        axes.set(
            xlim=(frame.left, frame.left + frame.width), ylim=(frame.bottom, frame.bottom + frame.height), xticks=[],
            yticks=[], aspect="equal",
        )  # fmt: skip
        axes.set_title(label, fontsize="medium", fontweight="bold", color=INK)
        axes.spines[:].set_color("#dcd9d2")
    for axes in panels[len(feature_map.points) :]:
        axes.set_axis_off()

    # Axis titles and legend.
    x_title, y_title = (
        f"component {k} ({share:.0%} of the real variance)" for k, share in enumerate(feature_map.shares, start=1)
    )
    figure.supxlabel(x_title, fontsize="small")
    figure.supylabel(y_title, fontsize="small")
    handles, titles = max((axes.get_legend_handles_labels() for axes in panels), key=lambda pair: len(pair[0]))
    figure.legend(handles, titles, loc="outside upper center", ncols=3, frameon=False, fontsize="small", markerscale=2)
    return figure


def means(sides: Mapping[SideName, Points]) -> dict[SideName, Points]:
    """Return the mean (2,) of each side."""
    return {side: sides[side].mean(axis=0) for side in DRAWING_ORDER if side in sides}
