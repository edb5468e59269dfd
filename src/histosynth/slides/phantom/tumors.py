"""The tumor of each genotype, by its histologic criteria (WHO Classification of CNS Tumours, 2021).

- IDH-mutant, 1p/19q-codeleted oligodendroglioma: uniform round nuclei in clear halos, fine branching capillaries.
- IDH-mutant, non-codeleted astrocytoma: irregular elongated nuclei in a fibrillary background.
- IDH-wildtype glioblastoma: crowded pleomorphic dark nuclei, mitoses, vascular tufts, necrosis behind palisades.
"""

from collections.abc import Callable

import numpy as np

from histosynth.slides.phantom.fields import Field, Frame, fibers, noise
from histosynth.slides.phantom.lesions import capillaries, debris, glomeruli, necrosis
from histosynth.slides.phantom.nuclei import Points, distances, lattice, values_at
from histosynth.slides.phantom.tissue import Tissue, fiber_direction, population


def codeleted(frame: Frame, depth: Field, rng: np.random.Generator) -> Tissue:
    """Draw IDHmut-codel: a honeycomb of clear cells with round nuclei ("fried eggs"), chicken-wire capillaries."""
    vessel, lining = capillaries(frame, depth, per_mm2=26.0, rng=rng)
    xy = lattice(frame, spacing_um=13.5, jitter=0.13, rng=rng)
    xy = xy[(values_at(vessel, xy) > 6.0) & (rng.random(len(xy)) < 0.97)]
    near, next_near = distances(frame, xy, reach_um=14.0)
    wall = np.exp(-(((next_near - near) / 1.5) ** 2))
    halo = np.clip((7.4 - near) / 1.5, 0.0, 1.0) * np.clip((vessel - 2.6) / 1.0, 0.0, 1.0)
    grain = noise(frame, scale_um=2.2, rng=rng)
    eosin = (0.17 + 0.04 * grain) * (1.0 - halo) + halo * (0.03 + 0.14 * wall)
    hematoxylin = (0.08 + 0.02 * grain) * (1.0 - halo) + halo * (0.012 + 0.05 * wall)
    eosin = np.maximum(eosin, 0.4 * np.exp(-(((vessel - 2.2) / 0.9) ** 2)))
    cells = population(frame, xy, kind="tumor", radius_um=3.8, spread=0.06, elongation=1.08, stain=0.72, rim=0.4,
                       chromatin=0.16, waver=0.015, rng=rng)  # fmt: skip
    return Tissue(hematoxylin, eosin, np.concatenate([cells, lining]))


def non_codeleted(frame: Frame, depth: Field, rng: np.random.Generator) -> Tissue:
    """Draw IDHmut-non-codel: irregular elongated nuclei, loosely scattered in a dense eosinophilic matrix."""
    direction = fiber_direction(frame, rng)
    texture = fibers(frame, direction, length_um=9.0, width_um=0.9, rng=rng)
    across = fibers(frame, direction + 1.0, length_um=8.0, width_um=0.8, rng=rng)
    cloud = noise(frame, scale_um=30.0, rng=rng)
    vessel, lining = capillaries(frame, depth, per_mm2=6.0, rng=rng)
    hole = np.clip(2.0 * noise(frame, scale_um=4.0, rng=rng) - 2.4, 0.0, 1.0)
    eosin = np.maximum(0.36 + 0.07 * texture + 0.06 * across + 0.03 * cloud, 0.05) * (1.0 - 0.7 * hole)
    eosin = np.maximum(eosin, 0.55 * np.exp(-(((vessel - 2.4) / 1.0) ** 2)))
    xy = lattice(frame, spacing_um=17.5, jitter=0.26, rng=rng)
    xy = xy[values_at(vessel, xy) > 5.0]
    angle = _sample_coarse(direction, frame, xy) + rng.normal(0.0, 0.6, len(xy))
    cells = population(frame, xy, kind="tumor", radius_um=3.9, spread=0.18, elongation=2.3, stain=0.85, rim=0.1,
                       chromatin=0.22, waver=0.075, angle=angle, rng=rng)  # fmt: skip
    return Tissue(np.full(frame.shape, 0.03, np.float32), eosin, np.concatenate([cells, lining]))


def wildtype(frame: Frame, depth: Field, rng: np.random.Generator) -> Tissue:
    """Draw IDHwt: crowded pleomorphic dark nuclei, mitoses, vascular tufts, necrosis behind palisades."""
    # Necrosis and vascular tufts.
    rim, outward = necrosis(frame, depth, rng)
    tufts = lattice(frame, spacing_um=200.0, jitter=0.2, rng=rng)
    tufts = tufts[(values_at(depth, tufts) > 30.0) & (values_at(rim, tufts) > 70.0)]
    tuft, _ = distances(frame, tufts, reach_um=40.0)
    tuft = tuft + 3.0 * noise(frame, scale_um=12.0, rng=rng)
    dead, glomerulus = np.clip(-rim / 6.0, 0.0, 1.0), np.clip((20.0 - tuft) / 3.0, 0.0, 1.0)

    # Palisades around the necrosis, and all other nuclei.
    palisade_xy = lattice(frame, spacing_um=7.4, jitter=0.2, rng=rng)
    palisade_xy = palisade_xy[
        (values_at(rim, palisade_xy) > 0.0)
        & (values_at(rim, palisade_xy) < 26.0)
        & (values_at(tuft, palisade_xy) > 20.0)
    ]
    xy = lattice(frame, spacing_um=9.6, jitter=0.17, rng=rng)
    xy = xy[(values_at(rim, xy) > 28.0) & (values_at(tuft, xy) > 20.0) & (rng.random(len(xy)) < 0.92)]
    fate = rng.random(len(xy))
    dividing, giant, other = fate < 0.015, (fate > 0.015) & (fate < 0.11), fate > 0.11
    radial = values_at(outward, palisade_xy) + rng.normal(0.0, 0.2, len(palisade_xy))
    cells = [
        population(frame, xy[other], kind="tumor", radius_um=3.7, spread=0.24, elongation=1.5, stain=1.05, rim=0.15,
                   chromatin=0.19, waver=0.06, rng=rng),
        population(frame, xy[giant], kind="tumor", radius_um=6.0, spread=0.12, elongation=1.35, stain=0.9, rim=0.3,
                   chromatin=0.22, waver=0.06, rng=rng),
        population(frame, xy[dividing], kind="mitosis", radius_um=2.8, spread=0.1, elongation=2.6, stain=1.3, rim=0.0,
                   chromatin=0.1, waver=0.06, rng=rng),
        population(frame, palisade_xy, kind="tumor", radius_um=3.3, spread=0.15, elongation=2.2, stain=1.05,
                   chromatin=0.22, waver=0.03, angle=radial, rng=rng),
        debris(frame, rim, rng),
        glomeruli(frame, tufts, rng),
    ]  # fmt: skip

    # Stains of the background, paler around mitoses.
    clear, _ = distances(frame, xy[dividing], reach_um=8.0)
    pale = 1.0 - 0.35 * np.clip((6.5 - clear) / 1.5, 0.0, 1.0)
    grain, clump = noise(frame, scale_um=1.8, rng=rng), noise(frame, scale_um=7.0, rng=rng)
    texture = fibers(frame, fiber_direction(frame, rng), length_um=7.0, width_um=1.0, rng=rng)
    eosin = (0.24 + 0.04 * texture + 0.04 * clump) * pale
    eosin += dead * (0.16 + 0.07 * clump + 0.06 * grain - 0.04 * texture) + glomerulus * (
        0.24 + 0.1 * clump + 0.06 * grain
    )
    hematoxylin = (0.15 + 0.03 * grain + 0.04 * clump) * pale * (1.0 - 0.75 * np.maximum(dead, glomerulus))
    return Tissue(hematoxylin, np.maximum(eosin, 0.03), np.concatenate(cells))


TUMORS: dict[str, Callable[[Frame, Field, np.random.Generator], Tissue]] = {
    "IDHmut-codel": codeleted,
    "IDHmut-non-codel": non_codeleted,
    "IDHwt": wildtype,
}
"""Function that draws the tissue of a genotype, from the frame and the depth inside the outline in microns."""


def _sample_coarse(coarse: Field, frame: Frame, xy: Points) -> Field:
    """Return the values of a coarse field at points on the frame."""
    rows, columns = coarse.shape
    return values_at(coarse, xy * [columns / frame.width_px, rows / frame.height_px])
