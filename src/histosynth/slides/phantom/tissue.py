"""Components of all tissues, a background of two stains and populations of nuclei; and the brain around the tumor."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histosynth.slides.phantom.fields import Field, Frame, fibers, noise
from histosynth.slides.phantom.nuclei import Nuclei, Points, distances, lattice, nuclei, values_at


@dataclass(frozen=True)
class Tissue:
    """A tissue over the whole frame: the stains between the nuclei, and the nuclei."""

    hematoxylin: Field
    eosin: Field
    nuclei: Nuclei


def population(
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
    """Draw the nuclei of one population on the frame; `spread` is the log standard deviation of the radius."""
    n = len(xy)
    table = nuclei(
        xy,
        kind=kind,
        radius=frame.px(radius_um) * np.exp(np.clip(rng.normal(0.0, spread, n), -2.0 * spread, 2.0 * spread)),
        elongation=1.0 + (elongation - 1.0) * rng.uniform(0.5, 1.5, n),
        angle=rng.uniform(0.0, math.pi, n) if angle is None else angle,
        stain=stain * rng.uniform(0.87, 1.13, n),
        waver=waver,
        chromatin=chromatin,
        rim=rim,
        rng=rng,
    )
    on_frame: Nuclei = table[((xy >= 0) & (xy < [frame.width_px, frame.height_px])).all(axis=1)]
    return on_frame


def fiber_direction(frame: Frame, rng: np.random.Generator) -> Field:
    """Draw the slowly varying direction of fibers, a coarse field in radians."""
    coarse = Frame(width_px=frame.width_px // 16 + 1, height_px=frame.height_px // 16 + 1, mpp=frame.mpp * 16)
    turn = 0.7 * noise(coarse, scale_um=150.0, rng=rng) + 0.35 * noise(coarse, scale_um=40.0, rng=rng)
    return np.float32(rng.uniform(0.0, math.pi)) + turn


def brain(frame: Frame, rng: np.random.Generator) -> Tissue:
    """Draw gray and white matter: pale neuropil, few small round glial cells, scattered neurons."""
    white = np.clip(0.5 + 1.5 * noise(frame, scale_um=350.0, rng=rng), 0.0, 1.0)
    texture = fibers(frame, fiber_direction(frame, rng), length_um=16.0, width_um=1.1, rng=rng)
    grain = noise(frame, scale_um=1.8, rng=rng)
    eosin = 0.19 + 0.03 * grain + white * (0.025 * texture - 0.04)
    xy = lattice(frame, spacing_um=27.0, jitter=0.28, rng=rng)
    large = (rng.random(len(xy)) < 0.25) & (values_at(white, xy) < 0.3)
    glia = population(frame, xy[~large], kind="glia", radius_um=2.6, spread=0.12, elongation=1.15, stain=0.75, rng=rng)
    neurons = population(frame, xy[large], kind="neuron", radius_um=3.8, spread=0.1, elongation=1.2, stain=0.5, rng=rng)
    near, _ = distances(frame, xy[large], reach_um=12.0)
    soma = np.clip((8.0 + 1.5 * noise(frame, scale_um=6.0, rng=rng) - near) / 2.0, 0.0, 1.0)
    return Tissue(0.03 + 0.06 * soma, np.maximum(eosin, 0.04) + 0.1 * soma, np.concatenate([glia, neurons]))
