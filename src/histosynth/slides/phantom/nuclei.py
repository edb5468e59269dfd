"""Nuclei: positions, appearance, and drawing into a concentration map.

A nucleus is an ellipse whose radius varies with the angle. In its own frame, u along the major and v the minor axis,

    rho = hypot(u, v) / (1 + w cos(2 t + p) + w cos(3 t + q)),    t = atan2(v, u)

is 1 on the membrane; the stain fades across it over about a micron, as in a section of finite thickness.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from histosynth.slides.phantom.fields import Field, Frame

KINDS = ("tumor", "mitosis", "endothelium", "glia", "neuron", "debris", "red_cell")

NUCLEUS = np.dtype(
    [
        ("x", "f4"),
        ("y", "f4"),
        ("major", "f4"),
        ("minor", "f4"),
        ("angle", "f4"),
        ("kind", "i1"),
        ("stain", "f4"),
        ("waver", "f4"),
        ("chromatin", "f4"),
        ("rim", "f4"),
        ("seed", "f4"),
    ]
)
"""x, y: center, and major, minor: radii, all in pixels; angle: of the major axis, in radians; kind: index of `KINDS`;
stain: concentration at the membrane; rim: share by which the center is paler; waver: amplitude w of the outline; seed:
phase of the outline; chromatin: contrast of the texture."""

Nuclei = NDArray[np.void]
Points = NDArray[np.floating]

_CHUNK = 128


def nuclei(
    xy: Points,
    *,
    kind: str,
    radius: NDArray[np.floating],
    elongation: NDArray[np.floating] | float,
    angle: NDArray[np.floating],
    stain: NDArray[np.floating] | float,
    waver: float,
    chromatin: float,
    rim: float,
    rng: np.random.Generator,
) -> Nuclei:
    """Return nuclei at `xy` (N, 2) of mean `radius` sqrt(major * minor) and `elongation` major / minor."""
    table = np.zeros(len(xy), NUCLEUS)
    stretch = np.sqrt(elongation)
    table["x"], table["y"] = xy[:, 0], xy[:, 1]
    table["major"], table["minor"], table["angle"] = radius * stretch, radius / stretch, angle % math.pi
    table["kind"], table["stain"] = KINDS.index(kind), stain
    table["waver"], table["chromatin"], table["rim"] = waver, chromatin, rim
    table["seed"] = rng.uniform(0.0, 2.0 * math.pi, len(xy))
    return table


def lattice(frame: Frame, *, spacing_um: float, jitter: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return points (N, 2) in pixels: a rotated hexagonal lattice of `spacing_um`, jittered by `jitter` spacings.

    Cells keep their distance; independent points would form clusters and gaps.
    """
    spacing = frame.px(spacing_um)
    reach = math.hypot(*frame.shape) / 2.0 + spacing
    n = math.ceil(reach / spacing)
    column, row = np.meshgrid(np.arange(-n, n + 1), np.arange(-round(n / 0.866), round(n / 0.866) + 1))
    u = (column + 0.5 * (row % 2)) * spacing
    v = row * (spacing * math.sqrt(0.75))
    turn = rng.uniform(0.0, math.pi)
    points = np.stack([u * math.cos(turn) - v * math.sin(turn), u * math.sin(turn) + v * math.cos(turn)], -1)
    points = points.reshape(-1, 2) + rng.normal(0.0, jitter * spacing, (points.size // 2, 2))
    points += np.array([frame.width_px, frame.height_px]) / 2.0
    inside = ((points >= 0) & (points < [frame.width_px, frame.height_px])).all(axis=1)
    kept: NDArray[np.float64] = points[inside]
    return kept


def values_at(field: Field, xy: Points) -> Field:
    """Return the values of a field (H, W) at points (N, 2)."""
    values: Field = field[xy[:, 1].astype(int), xy[:, 0].astype(int)]
    return values


def _windows(
    x: NDArray[np.floating], y: NDArray[np.floating], half: NDArray[np.floating], shape: tuple[int, int]
) -> Iterator[tuple[NDArray[np.intp], Field, Field, list[tuple[slice, slice, slice, slice]]]]:
    """Yield square windows around points, in batches of similar size: indices, offsets dx and dy, field slices."""
    order = np.argsort(-half, kind="stable")
    for start in range(0, len(order), _CHUNK):
        index = order[start : start + _CHUNK]
        reach = math.ceil(float(half[index].max()))
        ix, iy = np.floor(x[index]).astype(int), np.floor(y[index]).astype(int)
        step = np.arange(-reach, reach + 1, dtype=np.float32) + np.float32(0.5)
        dx = (step[None, None, :] + (ix - x[index])[:, None, None]).astype(np.float32)
        dy = (step[None, :, None] + (iy - y[index])[:, None, None]).astype(np.float32)
        slices = []
        for cx, cy in zip(ix.tolist(), iy.tolist(), strict=True):
            top, left = max(cy - reach, 0), max(cx - reach, 0)
            bottom, right = min(cy + reach + 1, shape[0]), min(cx + reach + 1, shape[1])
            oy, ox = top - cy + reach, left - cx + reach
            slices.append((slice(top, bottom), slice(left, right),
                           slice(oy, oy + bottom - top), slice(ox, ox + right - left)))  # fmt: skip
        yield index, dx, dy, slices


def stamp(canvas: Field, body: Field, cells: Nuclei, *, texture: Field, softness_px: float, gap: float) -> None:
    """Draw `cells` into `canvas` (concentrations) and `body` (1 inside).

    Args:
        canvas: (H, W), modified in place.
        body: (H, W), modified in place.
        cells: table of `NUCLEUS`.
        texture: (H, W), noise of unit variance: the chromatin.
        softness_px: width over which the membrane fades.
        gap: paleness of the thin line between touching cells, from 0 (none) to 1.
    """
    half = cells["major"] * (1.0 + 2.0 * cells["waver"]) + 1.5 * softness_px
    for index, dx, dy, slices in _windows(cells["x"], cells["y"], half, canvas.shape):
        c = {name: cells[name][index][:, None, None] for name in NUCLEUS.names or ()}
        cos, sin = np.cos(c["angle"]), np.sin(c["angle"])
        u, v = (dx * cos + dy * sin) / c["major"], (dy * cos - dx * sin) / c["minor"]
        theta = np.arctan2(v, u)
        outline = 1.0 + c["waver"] * (np.cos(2.0 * theta + c["seed"]) + np.cos(3.0 * theta + 7.0 * c["seed"]))
        rho = np.hypot(u, v) / outline
        within = (1.0 - rho) * (np.sqrt(c["major"] * c["minor"]) / softness_px)
        edge, gap_mask = np.clip(within + 0.5, 0.0, 1.0), np.clip(within + 1.3, 0.0, 1.0)
        middle = c["stain"] * (1.0 - c["rim"] * (1.0 - np.minimum(rho, 1.0) ** 2))
        for i, (rows, columns, inner_rows, inner_columns) in enumerate(slices):
            cover = edge[i, inner_rows, inner_columns]
            grain = np.clip(1.0 + c["chromatin"][i, 0, 0] * texture[rows, columns], 0.35, 1.8)
            canvas[rows, columns] *= 1.0 - gap * gap_mask[i, inner_rows, inner_columns]
            np.maximum(
                canvas[rows, columns], cover * middle[i, inner_rows, inner_columns] * grain, out=canvas[rows, columns]
            )
            np.maximum(body[rows, columns], cover, out=body[rows, columns])


def distances(frame: Frame, xy: Points, *, reach_um: float) -> tuple[Field, Field]:
    """Return the distances in microns to the nearest and second nearest of `xy` (N, 2), up to `reach_um`.

    Their difference is zero on the walls between cells: Worley's noise (1996).
    """
    reach = frame.px(reach_um)
    first, second = np.full(frame.shape, reach, np.float32), np.full(frame.shape, reach, np.float32)
    for _, dx, dy, slices in _windows(xy[:, 0], xy[:, 1], np.full(len(xy), reach), frame.shape):
        distance = np.hypot(dx, dy)
        for i, (rows, columns, inner_rows, inner_columns) in enumerate(slices):
            near, next_near, here = first[rows, columns], second[rows, columns], distance[i, inner_rows, inner_columns]
            np.minimum(next_near, np.maximum(near, here), out=next_near)
            np.minimum(near, here, out=near)
    return first * np.float32(frame.mpp), second * np.float32(frame.mpp)
