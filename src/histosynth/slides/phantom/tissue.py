"""Tissue: brain around the tumor, and the tumor of each genotype, as concentration maps and tables of nuclei.

What a neuropathologist reads (Louis et al., WHO Classification of Tumours of the Central Nervous System, 2021):
IDH-mutant, 1p/19q-codeleted oligodendroglioma: round alike nuclei in clear halos, fine branching capillaries. IDH-mutant,
non-codeleted astrocytoma: irregular elongated nuclei in a fibrillary felt. IDH-wildtype glioblastoma: crowded pleomorphic dark
nuclei, mitoses, vascular tufts, necrosis behind palisades of nuclei.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histosynth.slides.phantom.fields import Field, Frame, fibers, noise
from histosynth.slides.phantom.nuclei import Nuclei, at, distances, lattice, nuclei

Points = NDArray[np.floating]


@dataclass(frozen=True)
class Tissue:
    """A kind of tissue over the whole frame: what lies between the nuclei, and the nuclei."""

    hematoxylin: Field
    eosin: Field
    nuclei: Nuclei


def brain(frame: Frame, rng: np.random.Generator) -> Tissue:
    """Gray and white matter: pale neuropil, few small round glia, here and there a neuron."""
    direction = _direction(frame, rng)
    white = np.clip(0.5 + 1.5 * noise(frame, scale_um=350.0, rng=rng), 0.0, 1.0)
    felt = fibers(frame, direction, length_um=16.0, width_um=1.1, rng=rng)
    grain = noise(frame, scale_um=1.6, rng=rng)
    eosin = 0.26 + 0.035 * grain + white * (0.03 * felt - 0.05)
    hematoxylin = 0.03 + 0.01 * grain
    xy = lattice(frame, spacing_um=27.0, jitter=0.28, rng=rng)
    neuron = (rng.random(len(xy)) < 0.22) & (at(white, xy) < 0.3)
    glia = _cells(frame, xy[~neuron], kind="glia", radius_um=2.7, spread=0.12, elongation=1.15, stain=0.85, rng=rng)
    body = _cells(
        frame, xy[neuron], kind="neuron", radius_um=4.3, spread=0.1, elongation=1.2, stain=0.45, rim=0.2, rng=rng
    )
    near, _ = distances(frame, xy[neuron], reach_um=12.0)
    soma = np.clip((9.0 - near) / 2.5, 0.0, 1.0)
    return Tissue(hematoxylin + 0.12 * soma, np.maximum(eosin, 0.05) + 0.1 * soma, np.concatenate([glia, body]))


def codeleted(frame: Frame, depth: Field, rng: np.random.Generator) -> Tissue:
    """IDHmut-codel: a honeycomb of clear cells around round nuclei ("fried eggs"), crossed by chicken-wire capillaries."""
    xy = lattice(frame, spacing_um=13.5, jitter=0.12, rng=rng)
    vessel, lining, red = _capillaries(frame, depth, per_mm2=55.0, rng=rng)
    xy = xy[at(vessel, xy) > 6.5]
    near, next_near = distances(frame, xy, reach_um=14.0)
    wall = np.exp(-(((next_near - near) / 1.5) ** 2))
    halo = np.clip((7.2 - near) / 1.2, 0.0, 1.0) * np.clip((vessel - 3.0) / 1.5, 0.0, 1.0)
    grain = noise(frame, scale_um=1.8, rng=rng)
    matrix = 0.22 + 0.04 * grain
    eosin = matrix * (1.0 - halo) + halo * (0.035 + 0.15 * wall)
    hematoxylin = 0.09 * (1.0 - halo) + halo * (0.01 + 0.05 * wall)
    eosin = np.maximum(eosin, 0.42 * np.exp(-(((vessel - 2.4) / 1.1) ** 2)))
    cells = _cells(frame, xy, kind="tumor", radius_um=3.9, spread=0.06, elongation=1.07, stain=0.85, rim=0.3,
                   chromatin=0.16, waver=0.012, rng=rng)  # fmt: skip
    return Tissue(hematoxylin, eosin, np.concatenate([cells, lining, red]))


def non_codeleted(frame: Frame, depth: Field, rng: np.random.Generator) -> Tissue:
    """IDHmut-non-codel: irregular elongated nuclei, loosely strewn along the fibers of a dense pink felt."""
    direction = _direction(frame, rng)
    felt = fibers(frame, direction, length_um=14.0, width_um=0.9, rng=rng)
    across = fibers(frame, direction + 0.9, length_um=9.0, width_um=0.8, rng=rng)
    vessel, lining, red = _capillaries(frame, depth, per_mm2=8.0, rng=rng)
    eosin = np.maximum(0.43 + 0.13 * felt + 0.06 * across, 0.06)
    eosin = np.maximum(eosin, 0.6 * np.exp(-(((vessel - 2.6) / 1.2) ** 2)))
    hematoxylin = np.full(frame.shape, 0.04, np.float32)
    xy = lattice(frame, spacing_um=18.0, jitter=0.22, rng=rng)
    xy = xy[at(vessel, xy) > 5.0]
    angle = _sample(direction, frame, xy) + rng.normal(0.0, 0.45, len(xy))
    cells = _cells(frame, xy, kind="tumor", radius_um=4.1, spread=0.15, elongation=2.3, stain=0.95, rim=0.1,
                   chromatin=0.22, waver=0.055, angle=angle, rng=rng)  # fmt: skip
    return Tissue(hematoxylin, eosin, np.concatenate([cells, lining, red]))


def wildtype(frame: Frame, depth: Field, rng: np.random.Generator) -> Tissue:
    """IDHwt: crowded pleomorphic dark nuclei, mitoses, vascular tufts, necrosis behind palisades."""
    necrosis, outward = _necrosis(frame, depth, rng)
    tuft_xy = lattice(frame, spacing_um=260.0, jitter=0.2, rng=rng)
    tuft_xy = tuft_xy[(at(depth, tuft_xy) > 30.0) & (at(necrosis, tuft_xy) > 70.0)]
    tuft, _ = distances(frame, tuft_xy, reach_um=40.0)
    tuft += 3.0 * noise(frame, scale_um=12.0, rng=rng)
    dead = np.clip(-necrosis / 6.0, 0.0, 1.0)
    glomerulus = np.clip((19.0 - tuft) / 3.0, 0.0, 1.0)
    grain, clump = noise(frame, scale_um=1.8, rng=rng), noise(frame, scale_um=7.0, rng=rng)
    felt = fibers(frame, _direction(frame, rng), length_um=7.0, width_um=1.0, rng=rng)
    eosin = 0.26 + 0.05 * felt + 0.04 * clump
    hematoxylin = 0.17 + 0.03 * grain + 0.05 * clump
    eosin = eosin + dead * (0.22 + 0.1 * clump + 0.06 * grain - 0.05 * felt)
    hematoxylin = hematoxylin * (1.0 - 0.75 * dead)
    eosin = eosin + glomerulus * (0.4 + 0.1 * clump)
    hematoxylin = hematoxylin * (1.0 - 0.7 * glomerulus)

    xy = lattice(frame, spacing_um=9.4, jitter=0.2, rng=rng)
    rind = at(necrosis, xy)
    alive = (rind > 1.0) & (at(tuft, xy) > 19.0) & (rng.random(len(xy)) < np.where(rind < 32.0, 1.0, 0.86))
    xy, rind = xy[alive], rind[alive]
    palisade = rind < 28.0
    mitosis = ~palisade & (rng.random(len(xy)) < 0.02)
    tumor = ~palisade & ~mitosis
    cells = _cells(frame, xy[tumor], kind="tumor", radius_um=3.9, spread=0.3, elongation=1.5, stain=1.2, rim=0.15,
                   chromatin=0.3, waver=0.06, rng=rng)  # fmt: skip
    fence = _cells(frame, xy[palisade], kind="tumor", radius_um=3.5, spread=0.15, elongation=2.2, stain=1.25, rim=0.1,
                   chromatin=0.2, waver=0.03, angle=at(outward, xy[palisade]), rng=rng)  # fmt: skip
    plates = _cells(frame, xy[mitosis], kind="mitosis", radius_um=2.9, spread=0.1, elongation=2.8, stain=1.8, rim=0.0,
                    chromatin=0.1, waver=0.05, rng=rng)  # fmt: skip
    clear, _ = distances(frame, xy[mitosis], reach_um=8.0)
    pale = np.clip((6.5 - clear) / 1.5, 0.0, 1.0)
    dust_xy = lattice(frame, spacing_um=7.0, jitter=0.5, rng=rng)
    dust_xy = _inside(frame, dust_xy)
    dust_xy = dust_xy[(at(necrosis, dust_xy) < -5.0) & (rng.random(len(dust_xy)) < 0.6)]
    dust = _cells(
        frame, dust_xy, kind="debris", radius_um=1.1, spread=0.3, elongation=1.3, stain=1.1, waver=0.05, rng=rng
    )
    lining, red = _glomeruli(frame, tuft_xy, rng)
    return Tissue(
        hematoxylin * (1.0 - 0.6 * pale),
        np.maximum(eosin * (1.0 - 0.5 * pale), 0.03),
        np.concatenate([cells, fence, plates, dust, lining, red]),
    )


TUMORS: dict[str, Callable[[Frame, Field, np.random.Generator], Tissue]] = {
    "IDHmut-codel": codeleted,
    "IDHmut-non-codel": non_codeleted,
    "IDHwt": wildtype,
}
"""Genotype -> tissue. The names are the values of TCGA's `IDH_codel_subtype` without its dashes lost."""


def _direction(frame: Frame, rng: np.random.Generator) -> Field:
    """Slowly turning direction of fibers, a coarse field in radians."""
    coarse = Frame(width_px=frame.width_px // 16 + 1, height_px=frame.height_px // 16 + 1, mpp=frame.mpp * 16)
    return np.float32(rng.uniform(0.0, math.pi)) + np.float32(0.8) * noise(coarse, scale_um=150.0, rng=rng)


def _sample(coarse: Field, frame: Frame, xy: Points) -> Field:
    rows, columns = coarse.shape
    return at(coarse, xy * [columns / frame.width_px, rows / frame.height_px])


def _inside(frame: Frame, xy: Points) -> Points:
    """The points that lie on the frame."""
    return xy[((xy >= 0) & (xy < [frame.width_px, frame.height_px])).all(axis=1)]


def _cells(
    frame: Frame,
    xy: Points,
    *,
    kind: str,
    radius_um: float,
    spread: float,
    elongation: float,
    stain: float,
    rng: np.random.Generator,
    rim: float = 0.1,
    chromatin: float = 0.15,
    waver: float = 0.02,
    angle: NDArray[np.floating] | None = None,
) -> Nuclei:
    """Nuclei of one population: `spread` is the log standard deviation of the radius; elongation scatters above 1 alike."""
    n = len(xy)
    return nuclei(
        xy,
        kind=kind,
        radius=frame.px(radius_um) * np.exp(np.clip(rng.normal(0.0, spread, n), -2.0 * spread, 2.0 * spread)),
        elongation=1.0 + (elongation - 1.0) * rng.uniform(0.5, 1.5, n),
        angle=rng.uniform(0.0, math.pi, n) if angle is None else angle,
        stain=stain * rng.uniform(0.85, 1.15, n),
        waver=waver,
        chromatin=chromatin,
        rim=rim,
        rng=rng,
    )


def _capillaries(
    frame: Frame, depth: Field, *, per_mm2: float, rng: np.random.Generator
) -> tuple[Field, Nuclei, Nuclei]:
    """Thin wandering vessels: distance to their axis in microns, the nuclei of their lining, the red cells within."""
    area_mm2 = frame.width_px * frame.height_px * frame.mpp**2 * 1e-6
    count = max(1, round(per_mm2 * area_mm2))
    steps, step = 160, frame.px(1.5)
    start = rng.uniform(0.0, 1.0, (count, 2)) * [frame.width_px, frame.height_px]
    bend = np.cumsum(rng.normal(0.0, 0.012, (count, steps)), axis=1) + rng.normal(0.0, 0.04, (count, steps))
    heading = rng.uniform(0.0, 2.0 * math.pi, (count, 1)) + np.cumsum(bend, axis=1)
    # A branch leaves each vessel half way, at about sixty degrees.
    twig = heading[:, steps // 2, None] + rng.choice([-1.0, 1.0], (count, 1)) * 1.0 + np.cumsum(bend[:, ::-1], axis=1)
    trunk = start[:, None, :] + step * np.cumsum(np.stack([np.cos(heading), np.sin(heading)], -1), axis=1)
    branch = trunk[:, steps // 2, None, :] + step * np.cumsum(np.stack([np.cos(twig), np.sin(twig)], -1), axis=1)
    path = np.concatenate([trunk.reshape(-1, 2), branch.reshape(-1, 2)])
    course = np.concatenate([heading.reshape(-1), twig.reshape(-1)])
    inside = ((path >= 0) & (path < [frame.width_px, frame.height_px])).all(axis=1)
    path, course = path[inside], course[inside]
    deep = at(depth, path) > 5.0
    path, course = path[deep], course[deep]
    axis, _ = distances(frame, path, reach_um=9.0)

    chosen = rng.random(len(path)) < 0.09
    side = np.stack([-np.sin(course[chosen]), np.cos(course[chosen])], -1) * rng.choice([-1.0, 1.0], (chosen.sum(), 1))
    flank = path[chosen] + side * frame.px(2.6)
    lining = _cells(frame, _inside(frame, flank), kind="endothelium", radius_um=2.1, spread=0.1, elongation=3.2, stain=1.0,
                    angle=course[chosen][_on(frame, flank)], rng=rng)  # fmt: skip
    red = _cells(frame, path[rng.random(len(path)) < 0.12], kind="red_cell", radius_um=1.8, spread=0.1, elongation=1.2,
                 stain=1.05, chromatin=0.0, rng=rng)  # fmt: skip
    return axis, lining, red


def _on(frame: Frame, xy: Points) -> NDArray[np.bool_]:
    on: NDArray[np.bool_] = ((xy >= 0) & (xy < [frame.width_px, frame.height_px])).all(axis=1)
    return on


def _necrosis(frame: Frame, depth: Field, rng: np.random.Generator) -> tuple[Field, Field]:
    """Distance in microns to the rim of the nearest necrotic focus (negative within), and the direction away from it.

    Two foci at most, together about a twentieth of the tumor.
    """
    shape = (frame.height_px, frame.width_px)
    y, x = np.ogrid[: shape[0], : shape[1]]
    reach = float(depth.max())
    places = np.argwhere(depth[::16, ::16] > 0.4 * reach) * 16
    rim, outward = np.full(shape, 1e3, np.float32), np.zeros(shape, np.float32)
    for row, column in places[rng.choice(len(places), 2, replace=False)]:
        radius = reach * rng.uniform(0.09, 0.15)
        dx, dy = (x - column).astype(np.float32), (y - row).astype(np.float32)
        distance = np.hypot(dx, 1.35 * dy) * np.float32(frame.mpp) - np.float32(radius)
        outward = np.where(distance < rim, np.arctan2(dy, dx), outward)
        rim = np.minimum(rim, distance)
    return rim + 0.12 * reach * 0.25 * noise(frame, scale_um=0.12 * reach, rng=rng), outward


def _glomeruli(frame: Frame, centers: Points, rng: np.random.Generator) -> tuple[Nuclei, Nuclei]:
    """Vascular tufts: plump lining cells in swirls around each center, and the red cells of their lumens."""
    each = 26
    radius = np.sqrt(rng.random((len(centers), each))) * 18.0
    turn = rng.uniform(0.0, 2.0 * math.pi, (len(centers), each))
    offset = np.stack([radius * np.cos(turn), radius * np.sin(turn)], -1) / frame.mpp
    xy = (centers[:, None, :] + offset).reshape(-1, 2)
    on = _on(frame, xy)
    lining = _cells(frame, xy[on], kind="endothelium", radius_um=2.4, spread=0.15, elongation=2.4, stain=0.85, rim=0.2,
                    angle=turn.reshape(-1)[on] + math.pi / 2.0, rng=rng)  # fmt: skip
    lumen = centers[:, None, :] + rng.normal(0.0, frame.px(6.0), (len(centers), 12, 2))
    red = _cells(frame, _inside(frame, lumen.reshape(-1, 2)), kind="red_cell", radius_um=2.6, spread=0.1, elongation=1.2,
                 stain=1.3, chromatin=0.0, rng=rng)  # fmt: skip
    return lining, red
