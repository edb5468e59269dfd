"""The chart of color drift: mean tissue colors edge to edge, and the spread of both stains, one side below the other.

It is drawn twice from one layout: as HTML on the page (it follows the screen's width and dark mode), and as a file.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb as to_rgb_share
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from histosynth.report.charts import ACCENT, INK, MUTED
from histosynth.report.sections.color.measure import ColorResults, SideColors
from histosynth.report.sides import SIDE_TITLES, SideName
from histosynth.stain.optical_density import to_rgb

STAINS = ("hematoxylin", "eosin")
_BANDS = ((0, 6), (1, 5), (2, 4))  # indices of quantiles: 1 to 99, 5 to 95, 25 to 75 %
_MEDIAN = 3
_HEIGHTS = (0.06, 0.3, 0.6)  # of the bands, as shares of a lane
_STRENGTHS = (0.6, 0.28, 0.55)  # of their color, mixed with that of the background
_TONES = {"held_out": INK, "train": MUTED, "fake": ACCENT}


@dataclass(frozen=True, kw_only=True)
class Axis:
    """The common axis of one stain's concentrations, over all sides and labels."""

    low: float
    high: float
    ticks: list[float]
    scale: list[str]  # CSS colors of the stain at concentrations from `low` to `high`

    def at(self, value: float) -> float:
        """Return the position of a value, from 0 (left) to 100 (right)."""
        return 100 * (value - self.low) / (self.high - self.low)


def axes_of(colors: ColorResults) -> dict[str, Axis]:
    """Return the axis of each stain."""
    sides = [side for row in colors.rows.values() for side in row.sides.values()]
    return {
        stain: _axis([getattr(side, stain) for side in sides], colors.stains.stains[k])
        for k, stain in enumerate(STAINS)
    }


def _axis(quantiles: Iterable[list[float]], vector: tuple[float, float, float]) -> Axis:
    values = [value for side in quantiles for value in side]
    low, high = min([0.0, *values]), max([0.1, *values])
    ticks = [float(tick) for tick in MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= tick <= high]
    amounts = np.linspace(low, high, 9)[:, None].clip(0)
    colors = to_rgb((amounts * np.array(vector)).astype(np.float32))
    return Axis(low=low, high=high, ticks=ticks, scale=[css(color) for color in colors.tolist()])


def css(rgb: Iterable[int]) -> str:
    """Return an 8-bit color in the notation of CSS and matplotlib."""
    return "#" + "".join(f"{value:02x}" for value in rgb)


def bands(side: SideColors, stain: str) -> list[tuple[float, float]]:
    """Return the three bands of quantiles, the widest first."""
    values = getattr(side, stain)
    return [(values[low], values[high]) for low, high in _BANDS]


def median(side: SideColors, stain: str) -> float:
    """Return the median concentration."""
    value: float = getattr(side, stain)[_MEDIAN]
    return value


def color_chart(colors: ColorResults) -> Figure:
    """Return the chart, for presentations and papers."""
    # Lanes from top to bottom: a group per row of the table, a lane per side.
    lanes: list[tuple[float, SideName, SideColors]] = []
    titles: list[tuple[float, str]] = []
    y = 0.0
    for title, row in colors.rows.items():
        titles.append((y, title))
        lanes += [(y + i, name, side) for i, (name, side) in enumerate(row.sides.items())]
        y += len(row.sides) + 0.9

    # Left panel: mean colors; the others: one per stain.
    figure = Figure(figsize=(9, 1.1 + 0.3 * y), dpi=200, layout="constrained")
    swatches, *panels = figure.subplots(1, 3, sharey=True, width_ratios=(0.32, 1, 1))
    swatches.set(xlim=(0, 1), ylim=(max(y - 1.2, 0.6), -1.1), title="mean color", xticks=[])
    swatches.set_yticks([y for y, *_ in lanes], [SIDE_TITLES[name] for _, name, _ in lanes], fontsize="small")
    for y, title in titles:
        swatches.text(0, y - 0.6, title, fontsize="small", fontweight="bold", color=INK, va="bottom")
    for y, name, side in lanes:
        swatches.add_patch(Rectangle((0, y - 0.5), 1, 1, facecolor=css(side.rgb), linewidth=0))
        for axes, stain in zip(panels, STAINS, strict=True):
            _draw_lane(axes, y, bands(side, stain), median(side, stain), color=_TONES[name])

    # Axes.
    for axes, (stain, axis) in zip(panels, axes_of(colors).items(), strict=True):
        axes.set(xlim=(axis.low, axis.high), xticks=axis.ticks, title=stain, xlabel="concentration (OD)")
        axes.grid(axis="x", color="#e4e4e4")
        axes.set_axisbelow(True)
    for axes in (swatches, *panels):
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.title.set_fontsize("medium")
    return figure


def _draw_lane(axes: Axes, y: float, spans: list[tuple[float, float]], middle: float, *, color: str) -> None:
    for (low, high), height, strength in zip(spans, _HEIGHTS, _STRENGTHS, strict=True):
        tone = tuple(1 - strength * (1 - channel) for channel in to_rgb_share(color))
        axes.add_patch(Rectangle((low, y - height / 2), high - low, height, facecolor=tone, linewidth=0))
    for halo, width in (("white", 2.8), (color, 1.5)):
        axes.plot([middle, middle], [y - 0.36, y + 0.36], color=halo, linewidth=width, solid_capstyle="butt")
