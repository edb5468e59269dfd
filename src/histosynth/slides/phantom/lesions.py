"""Structures inside a tumor: capillaries, necrosis, vascular tufts."""

import math

import numpy as np
from numpy.typing import NDArray

from histosynth.slides.phantom.fields import Field, Frame, noise
from histosynth.slides.phantom.nuclei import Nuclei, Points, distances, lattice, values_at
from histosynth.slides.phantom.tissue import population


def capillaries(frame: Frame, depth: Field, *, per_mm2: float, rng: np.random.Generator) -> tuple[Field, Nuclei]:
    """Draw thin winding vessels, each with a branch; return the distance to their axis in microns, and their cells."""
    # Paths of the vessels, inside the frame and the tumor.
    steps, step = 200, frame.px(1.5)
    start = lattice(frame, spacing_um=1000.0 / math.sqrt(0.866 * per_mm2), jitter=0.25, rng=rng)
    count = len(start)
    heading = rng.uniform(0.0, 2.0 * math.pi, (count, 1)) + _meander(count, steps, rng)
    twig = heading[:, steps // 2, None] + rng.choice([-0.9, 0.9], (count, 1)) + _meander(count, steps, rng)
    trunk = _walk(start, heading, step)
    branch = _walk(trunk[:, steps // 2], twig, step)
    path = np.concatenate([trunk, branch]).reshape(-1, 2)
    course = np.concatenate([heading, twig]).reshape(-1)
    on = ((path >= 0) & (path < [frame.width_px, frame.height_px])).all(axis=1)
    path, course = path[on], course[on]
    deep = values_at(depth, path) > 5.0
    path, course = path[deep], course[deep]
    axis, _ = distances(frame, path, reach_um=9.0)

    # Endothelium along the walls, and red cells in the lumen.
    lined, filled = rng.random(len(path)) < 0.08, rng.random(len(path)) < 0.08
    side = np.stack([-np.sin(course), np.cos(course)], -1) * rng.choice([-1.0, 1.0], (len(path), 1))
    lining = population(frame, (path + side * frame.px(2.4))[lined], kind="endothelium", radius_um=2.0, spread=0.1,
                        elongation=3.0, stain=0.85, angle=course[lined], rng=rng)  # fmt: skip
    red = population(frame, path[filled], kind="red_cell", radius_um=1.7, spread=0.1, elongation=1.2, stain=0.9,
                     chromatin=0.0, rng=rng)  # fmt: skip
    return axis, np.concatenate([lining, red])


def _meander(count: int, steps: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return bends (count, steps) in radians that always return to the first heading, so that no vessel curls up."""
    phase = rng.uniform(0.0, 2.0 * math.pi, (count, 3, 1))
    waves = np.sin(np.arange(steps) * 2.0 * math.pi / np.array([[190.0], [83.0], [37.0]]) + phase)
    return np.asarray((waves * np.array([[0.45], [0.35], [0.25]])).sum(axis=1))


def _walk(start: Points, heading: NDArray[np.floating], step: float) -> NDArray[np.float64]:
    """Return paths (count, steps, 2) from `start` (count, 2), in steps of `step` along `heading` (count, steps)."""
    return np.asarray(start[:, None] + step * np.cumsum(np.stack([np.cos(heading), np.sin(heading)], -1), axis=1))


def necrosis(frame: Frame, depth: Field, rng: np.random.Generator) -> tuple[Field, Field]:
    """Draw two foci of necrosis, together some hundredths of the tumor.

    Returns:
        Distance to the nearest rim in microns (negative within), and the direction away from it in radians.
    """
    reach = float(depth.max())
    y = np.arange(frame.height_px, dtype=np.float32)[:, None]
    x = np.arange(frame.width_px, dtype=np.float32)
    step = max(1, min(frame.shape) // 128)
    coarse = depth[::step, ::step]
    pixels = np.argwhere((coarse > 0.35 * reach) & (coarse < 0.8 * reach)) * step
    rim, outward = np.full(frame.shape, np.inf, np.float32), np.zeros(frame.shape, np.float32)
    for row, column in pixels[rng.choice(len(pixels), 2, replace=False)]:
        dx, dy = frame.mpp * (x - float(column)), frame.mpp * (y - float(row))
        turn, stretch = rng.uniform(0.0, math.pi), rng.uniform(1.2, 1.8)
        u, v = dx * math.cos(turn) + dy * math.sin(turn), dy * math.cos(turn) - dx * math.sin(turn)
        distance = (np.hypot(u, stretch * v) - reach * rng.uniform(0.12, 0.17)).astype(np.float32)
        outward = np.where(distance < rim, np.arctan2(dy, dx), outward)
        rim = np.minimum(rim, distance)
    return rim + 0.035 * reach * noise(frame, scale_um=0.12 * reach, rng=rng), outward


def debris(frame: Frame, rim: Field, rng: np.random.Generator) -> Nuclei:
    """Draw nuclear debris inside the necrosis."""
    xy = lattice(frame, spacing_um=7.0, jitter=0.3, rng=rng)
    xy = xy[(values_at(rim, xy) < -4.0) & (rng.random(len(xy)) < 0.6)]
    return population(
        frame, xy, kind="debris", radius_um=1.2, spread=0.3, elongation=1.3, stain=0.8, waver=0.05, rng=rng
    )


def glomeruli(frame: Frame, centers: Points, rng: np.random.Generator) -> Nuclei:
    """Draw vascular tufts: plump endothelial cells in swirls around each center, and red cells in their lumens."""
    cells_per_tuft = 34
    radius = np.sqrt(rng.uniform(0.1, 1.0, (len(centers), cells_per_tuft))) * frame.px(20.0)
    turn = rng.uniform(0.0, 2.0 * math.pi, (len(centers), cells_per_tuft))
    xy = centers[:, None] + np.stack([radius * np.cos(turn), radius * np.sin(turn)], -1)
    lumen = centers[:, None] + rng.normal(0.0, frame.px(6.0), (len(centers), 10, 2))
    lining = population(frame, xy.reshape(-1, 2), kind="endothelium", radius_um=2.4, spread=0.15, elongation=2.4,
                        stain=0.9, rim=0.2, angle=turn.reshape(-1) + math.pi / 2.0, rng=rng)  # fmt: skip
    red = population(frame, lumen.reshape(-1, 2), kind="red_cell", radius_um=2.4, spread=0.1, elongation=1.2, stain=1.0,
                     chromatin=0.0, rng=rng)  # fmt: skip
    return np.concatenate([lining, red])
