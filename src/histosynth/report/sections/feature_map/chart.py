"""The picture of a map, a panel a label, sides in their colors, each side's mean as a ringed dot.

Drawn twice from the same points: in the page as SVG (it follows the screen's width and its dark mode), and as files.
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

SHOWN = 600
"""Points of a side, at most, over all labels."""
DRAWN: tuple[SideName, ...] = ("train", "held_out", "fake")
"""From the undermost."""
_TONES = {"train": MUTED, "held_out": INK, "fake": ACCENT}
_MARGIN = 0.04  # of the range, about the points
_COLUMNS = 3

Points = NDArray[np.float64]  # (N, 2)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The part of the plane that every panel shows, a unit of equal length on both axes."""

    left: float
    bottom: float
    width: float
    height: float

    @property
    def box_height(self) -> float:
        """Of a picture 100 wide."""
        return 100 * self.height / self.width

    def box(self, points: Points) -> list[tuple[float, float]]:
        """Where points lie in it, from its upper left corner."""
        scale = 100 / self.width
        placed = (points - [self.left, self.bottom + self.height]) * [scale, -scale]
        return [(x, y) for x, y in placed.tolist()]


def shown_points(found: FeatureMap, label: str) -> dict[SideName, Points]:
    """The first of each side's random order: nothing is picked."""
    most, sides = max(1, SHOWN // len(found.points)), found.points[label]
    return {side: sides[side][:most] for side in DRAWN if side in sides}


def frame_of(found: FeatureMap) -> Frame:
    """What holds all points that are shown."""
    every = np.concatenate([points for label in found.points for points in shown_points(found, label).values()])
    low, high = every.min(axis=0), every.max(axis=0)
    margin = _MARGIN * float((high - low).max())
    (left, bottom), (width, height) = (low - margin).tolist(), (high - low + 2 * margin).tolist()
    return Frame(left=left, bottom=bottom, width=width, height=height)


def dots(points: Points, frame: Frame) -> str:
    """Points as the path of an SVG: strokes without length, which round caps make dots."""
    return "".join(f"M{x:.1f} {y:.1f}h0" for x, y in frame.box(points))


def map_chart(found: FeatureMap) -> Figure:
    """The picture, for slides and papers."""
    frame, columns = frame_of(found), min(len(found.points), _COLUMNS)
    lines = math.ceil(len(found.points) / columns)
    width = 9 / columns
    figure = Figure(
        figsize=(9, 0.6 + lines * (width * min(frame.height / frame.width, 2) + 0.3)), dpi=200, layout="constrained"
    )
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, label in zip(panels, found.points, strict=False):
        for side, points in shown_points(found, label).items():
            axes.scatter(*points.T, s=5, color=_TONES[side], alpha=0.55, linewidth=0, label=SIDE_TITLES[side])
        for side, mean in means(found.points[label]).items():
            axes.scatter(*mean, s=60, color=_TONES[side], edgecolor="white", linewidth=1.5, zorder=3)
        axes.set(
            xlim=(frame.left, frame.left + frame.width), ylim=(frame.bottom, frame.bottom + frame.height), xticks=[],
            yticks=[], aspect="equal",
        )  # fmt: skip
        axes.set_title(label, fontsize="medium", fontweight="bold", color=INK)
        axes.spines[:].set_color("#dcd9d2")
    for axes in panels[len(found.points) :]:
        axes.set_axis_off()
    across, up = (f"component {k} ({share:.0%} of the real variance)" for k, share in enumerate(found.shares, start=1))
    figure.supxlabel(across, fontsize="small")
    figure.supylabel(up, fontsize="small")
    handles, titles = max((axes.get_legend_handles_labels() for axes in panels), key=lambda pair: len(pair[0]))
    figure.legend(handles, titles, loc="outside upper center", ncols=3, frameon=False, fontsize="small", markerscale=2)
    return figure


def means(sides: Mapping[SideName, Points]) -> dict[SideName, Points]:
    """The mean (2,) of each side."""
    return {side: sides[side].mean(axis=0) for side in DRAWN if side in sides}
