"""Color drift: the colors of synthetic tissue compared with those of real tissue, per label and overall.

The patches are those of the main results, with every `pixel_step`-th pixel of each, so that a side of any size takes
the same memory. Real training against real held-out patients is the floor: laboratories and patients differ in color
too.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histosynth.metrics.color import (
    QUANTILES,
    ColorStatistics,
    color_distance,
    common_stains,
    concentration_distances,
    concentration_quantiles,
    concentrations,
    fit_stains,
    mean_shift,
)
from histosynth.report.comparison import PAIRS
from histosynth.report.sides import SIDES, Plan, SideName
from histosynth.stain import StainFit, tissue_pixels
from histosynth.stain.distance import stain_distance
from histosynth.stain.optical_density import to_rgb

PIXELS_PER_SIDE = 2**18
MIN_PIXELS = 100
"""Tissue pixels that a side needs for a result."""

Channels = tuple[float, float, float]  # red, green, blue
Pixels = Mapping[SideName, Mapping[str, NDArray[np.uint8]]]  # side -> label -> (N, 3)


@dataclass(frozen=True, kw_only=True)
class SideColors:
    """The tissue of one side. Densities and concentrations are optical densities (OD)."""

    patches: int
    pixels: int  # tissue pixels measured
    tissue: float  # their share of all pixels sampled
    density: Channels  # mean
    rgb: tuple[int, int, int]  # the color of that density, 8 bits per channel
    hematoxylin: list[float]  # concentrations at the quantiles
    eosin: list[float]
    fit: StainFit | None  # the stains of this side; None where they cannot be fitted


@dataclass(frozen=True, kw_only=True)
class ColorComparison:
    """One side against another, all in OD. A positive shift means that the first is darker in that channel."""

    color_distance: float
    mean_shift: Channels
    hematoxylin_distance: float
    eosin_distance: float
    stain_distance: float | None


@dataclass(frozen=True, kw_only=True)
class ColorRow:
    """One label, or all labels. The keys of `pairs` are those of `PAIRS`; None where a side has no result."""

    sides: dict[SideName, SideColors]
    pairs: dict[str, ColorComparison | None]


@dataclass(frozen=True, kw_only=True)
class ColorResults:
    """The color results of a report."""

    pixel_step: int  # every `pixel_step`-th pixel of a patch was measured
    quantiles: tuple[float, ...]
    stains: StainFit  # the vectors of all concentrations, those of the real patches where `stains_fitted`
    stains_fitted: bool
    overall: ColorRow
    labels: dict[str, ColorRow]

    @property
    def rows(self) -> dict[str, ColorRow]:
        """The rows of a table: the overall results, then each label where there are several."""
        return {"Overall": self.overall, **(self.labels if len(self.labels) > 1 else {})}


def measure_colors(plan: Plan, *, batch: int, advance: Callable[[int], object] = lambda count: None) -> ColorResults:
    """Measure the colors of exactly the patches that enter the plan's comparisons.

    Args:
        plan: sides, labels and n.
        batch: patches to decode at a time.
        advance: called with the number of patches done.
    """
    step = _pixel_step(plan)
    pixels = {
        name: {k: _sample(plan, name, k, step, batch, advance) for k in plan.labels if plan.usable(name, k)}
        for name in SIDES
    }
    real = [sample for name in SIDES if name != "fake" for sample in pixels[name].values()]
    stains, fitted = common_stains(np.concatenate(real))
    return ColorResults(
        pixel_step=step,
        quantiles=QUANTILES,
        stains=stains,
        stains_fitted=fitted,
        overall=_row(plan, pixels, plan.pooled, stains),
        labels={label: _row(plan, pixels, [label], stains) for label in plan.labels},
    )


def _pixel_step(plan: Plan) -> int:
    """Return the smallest step that keeps a side within `PIXELS_PER_SIDE` and visits every column of a patch."""
    side_px = plan.sides["fake"].store.patch_px
    step = max(1, math.ceil(sum(plan.n.values()) * side_px**2 / PIXELS_PER_SIDE))
    while math.gcd(step, side_px) > 1:
        step += 1
    return step


def _sample(
    plan: Plan, name: SideName, label: str, step: int, batch: int, advance: Callable[[int], object]
) -> NDArray[np.uint8]:
    """Return every `step`-th pixel of each patch of that side and label that enters, (N, 3)."""
    side, n = plan.sides[name], plan.n[label]
    samples = []
    for start in range(0, n, batch):
        images = side.store.images(side.rows[label][start : min(start + batch, n)])
        samples.append(images.reshape(len(images), -1, 3)[:, ::step].reshape(-1, 3))
        advance(len(images))
    return np.concatenate(samples) if samples else np.empty((0, 3), np.uint8)


def _row(plan: Plan, pixels: Pixels, labels: list[str], stains: StainFit) -> ColorRow:
    # Pixels of these labels, of each side that has them all and shows enough tissue.
    pooled = {
        name: np.concatenate([pixels[name][label] for label in labels])
        for name in SIDES
        if labels and all(label in pixels[name] for label in labels)
    }
    pooled = {name: values for name, values in pooled.items() if len(tissue_pixels(values)) >= MIN_PIXELS}

    # Each side by itself, then the pairs.
    statistics = {name: ColorStatistics.of(values) for name, values in pooled.items()}
    amounts = {name: concentrations(values, stains=stains) for name, values in pooled.items()}
    fits = {name: fit_stains(values) for name, values in pooled.items()}
    patches = sum(plan.n[label] for label in labels)

    def compare(a: SideName, b: SideName) -> ColorComparison | None:
        if a not in pooled or b not in pooled:
            return None
        hematoxylin, eosin = concentration_distances(amounts[a], amounts[b])
        first, second = fits[a], fits[b]
        return ColorComparison(
            color_distance=color_distance(statistics[a], statistics[b]),
            mean_shift=_channels(mean_shift(statistics[a], statistics[b])),
            hematoxylin_distance=hematoxylin,
            eosin_distance=eosin,
            stain_distance=stain_distance(first, second) if first and second else None,
        )

    sides = {
        name: _side(values, amounts=amounts[name], fit=fits[name], patches=patches)
        for name, values in statistics.items()
    }
    return ColorRow(sides=sides, pairs={key: compare(a, b) for key, (a, b) in PAIRS.items()})


def _side(
    statistics: ColorStatistics, *, amounts: NDArray[np.float32], fit: StainFit | None, patches: int
) -> SideColors:
    mean = statistics.density.mean
    red, green, blue = (int(value) for value in to_rgb(mean.astype(np.float32)))
    hematoxylin, eosin = concentration_quantiles(amounts).tolist()
    return SideColors(
        patches=patches,
        pixels=statistics.density.n,
        tissue=statistics.tissue,
        density=_channels(mean),
        rgb=(red, green, blue),
        hematoxylin=hematoxylin,
        eosin=eosin,
        fit=fit,
    )


def _channels(values: NDArray[np.float64]) -> Channels:
    red, green, blue = values.tolist()
    return red, green, blue
