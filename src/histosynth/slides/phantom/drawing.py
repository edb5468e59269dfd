"""Draw one phantom: brain, a tumor inside an outline, stained and scanned; from a random generator to arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histosynth.errors import HistosynthError, did_you_mean
from histosynth.slides.phantom.fields import Blob, Field, Frame, noise
from histosynth.slides.phantom.nuclei import KINDS, Nuclei, stamp, values_at
from histosynth.slides.phantom.optics import Stain, optical_density, transmit
from histosynth.slides.phantom.tissue import Tissue, brain
from histosynth.slides.phantom.tumors import TUMORS

GENOTYPES = tuple(TUMORS)


@dataclass(frozen=True)
class Truth:
    """Truth of a phantom: all nuclei (table of `NUCLEUS`, without red cells), the stain, the outline of the tissue."""

    nuclei: Nuclei
    stain: Stain
    section: NDArray[np.float64]
    """Ring (N, 2) around all tissue, x and y in level-0 pixels."""


@dataclass(frozen=True)
class Phantom:
    """A slide in memory."""

    image: NDArray[np.uint8]
    """(height, width, 3)."""
    outline: NDArray[np.float64]
    """Ring (N, 2) around the tumor, x and y in level-0 pixels, not closed."""
    truth: Truth


def draw_phantom(genotype: str, *, width_px: int, height_px: int, mpp: float, rng: np.random.Generator) -> Phantom:
    """Draw a phantom of `genotype` (one of `GENOTYPES`).

    Raises:
        HistosynthError: an unknown genotype, or a slide too small to hold a tumor (less than 100 microns).
    """
    if genotype not in TUMORS:
        raise HistosynthError(
            f"no phantom of '{genotype}'{did_you_mean(genotype, list(GENOTYPES))}; known are: {', '.join(GENOTYPES)}"
        )
    if min(width_px, height_px) * mpp < 100:
        raise HistosynthError(
            f"a phantom of {width_px} x {height_px} px at {mpp} um/px is too small for a tumor; use at least 100 um"
        )
    # Outlines, and the tissues inside and outside of the tumor.
    frame = Frame(width_px=width_px, height_px=height_px, mpp=mpp)
    stain = Stain.draw(rng)
    section = Blob.draw(frame, radius=0.45, rng=rng)
    outline = _tumor_outline(frame, section, rng)
    tissue_depth, tumor_depth = section.depth(frame), outline.depth(frame)
    normal, tumor = brain(frame, rng), TUMORS[genotype](frame, tumor_depth, rng)

    # Frayed borders: of the tumor toward the brain, and of the tissue toward the glass.
    frayed = tumor_depth + 5.0 * noise(frame, scale_um=25.0, rng=rng)
    tumor_share = np.clip(frayed / 24.0 + 0.5, 0.0, 1.0)
    roughness = 3.0 * noise(frame, scale_um=40.0, rng=rng) + 1.2 * noise(frame, scale_um=5.0, rng=rng)
    edge = np.clip((tissue_depth + roughness) / 3.0, 0.0, 1.0)
    table = np.concatenate([_nuclei_within(tumor, frayed > 0.0), _nuclei_within(normal, frayed <= 0.0)])
    table = table[values_at(tissue_depth, np.stack([table["x"], table["y"]], 1)) > 8.0]

    # Stain, transmitted light and sensor noise.
    hematoxylin, eosin = _stain_concentrations(frame, normal, tumor, tumor_share, table, rng)
    density = optical_density(hematoxylin * edge, eosin * edge, stain)
    density += (0.002 * noise(frame, scale_um=200.0, rng=rng))[..., None]
    light = transmit(density)
    light += rng.standard_normal(light.shape, np.float32) * np.float32(1.2)
    image = np.clip(np.rint(light), 0, 255).astype(np.uint8)
    cells = table[table["kind"] != KINDS.index("red_cell")]
    return Phantom(image, outline.polygon(), Truth(cells, stain, section.polygon()))


def _tumor_outline(frame: Frame, section: Blob, rng: np.random.Generator) -> Blob:
    """Draw outlines of the tumor until one is surrounded by brain on all sides."""
    while True:
        outline = Blob.draw(frame, radius=0.385, rng=rng)
        if section.inside(*outline.polygon().T).min() > 0.04:
            return outline


def _nuclei_within(tissue: Tissue, mask: NDArray[np.bool_]) -> Nuclei:
    """Return the nuclei of a tissue whose centers lie in the mask."""
    table = tissue.nuclei
    within: Nuclei = table[mask[table["y"].astype(int), table["x"].astype(int)]]
    return within


def _stain_concentrations(
    frame: Frame, normal: Tissue, tumor: Tissue, tumor_share: Field, table: Nuclei, rng: np.random.Generator
) -> tuple[Field, Field]:
    """Return hematoxylin and eosin: backgrounds mixed by `tumor_share`, with nuclei and red cells drawn onto them."""
    softness = max(frame.px(0.6), 1.0)
    texture = noise(frame, scale_um=1.1, rng=rng)
    hematoxylin = normal.hematoxylin + tumor_share * (tumor.hematoxylin - normal.hematoxylin)
    eosin = normal.eosin + tumor_share * (tumor.eosin - normal.eosin)
    red = table["kind"] == KINDS.index("red_cell")
    body = np.zeros(frame.shape, np.float32)
    stamp(eosin, body, table[red], texture=texture, softness_px=softness, gap=0.0)
    body[:] = 0.0
    stamp(hematoxylin, body, table[~red], texture=texture, softness_px=softness, gap=0.6)
    eosin *= 1.0 - 0.65 * body
    return hematoxylin, eosin
