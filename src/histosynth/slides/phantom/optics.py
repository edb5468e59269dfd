"""Light through a stained section: the Beer-Lambert law, in optical densities (Ruifrok & Johnston 2001).

    OD = glass + c_H v_H + c_E v_E          I = 255 * 10^-OD

c_H and c_E are the concentrations of hematoxylin and eosin, v_H and v_E unit vectors over red, green and blue.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating]

# Unit vectors near those of scanned H&E (Macenko et al. 2009, the reference of their published code).
HEMATOXYLIN = (0.5626, 0.7201, 0.4062)
EOSIN = (0.2159, 0.8012, 0.5581)


@dataclass(frozen=True)
class Stain:
    """Stain and scan of one slide."""

    hematoxylin: tuple[float, float, float]
    """Unit OD vector over red, green, blue."""
    eosin: tuple[float, float, float]
    """Unit OD vector over red, green, blue."""
    hematoxylin_strength: float
    """Factor on every hematoxylin concentration of the slide."""
    eosin_strength: float
    """Factor on every eosin concentration of the slide."""
    glass: tuple[float, float, float]
    """OD of the empty glass: 0 would be pure white."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Stain":
        """Draw the stain of a laboratory: vectors vary by a few degrees, strengths by some tens of per cent."""
        vectors = np.array([HEMATOXYLIN, EOSIN]) + rng.normal(0.0, 0.025, (2, 3))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        strength = np.exp(np.clip(rng.normal(0.0, 0.12, 2), -0.2, 0.2))
        glass = 0.02 + rng.uniform(-0.006, 0.006, 3)
        return cls(
            hematoxylin=_triple(vectors[0]),
            eosin=_triple(vectors[1]),
            hematoxylin_strength=float(strength[0]),
            eosin_strength=float(strength[1]),
            glass=_triple(glass),
        )


def optical_density(hematoxylin: Field, eosin: Field, stain: Stain) -> Field:
    """Return the OD (H, W, 3) of two concentration maps (H, W) on a slide."""
    density = np.empty((*hematoxylin.shape, 3), np.float32)
    for channel in range(3):
        density[..., channel] = (
            np.float32(stain.hematoxylin_strength * stain.hematoxylin[channel]) * hematoxylin
            + np.float32(stain.eosin_strength * stain.eosin[channel]) * eosin
            + np.float32(stain.glass[channel])
        )
    return density


def transmit(density: Field) -> Field:
    """Return the light I = 255 * 10^-OD, any shape, in [0, 255]."""
    light: Field = np.exp(density * np.float32(-np.log(10.0))) * np.float32(255.0)
    return light


def unmix(image: NDArray[np.uint8], stain: Stain) -> Field:
    """Return the concentrations (H, W, 2) of hematoxylin and eosin in an image (H, W, 3), by least squares."""
    density = -np.log10(np.maximum(image, 1) / 255.0) - np.array(stain.glass)
    vectors = np.array([stain.hematoxylin, stain.eosin])
    strengths = np.array([stain.hematoxylin_strength, stain.eosin_strength])
    concentrations: Field = (density @ np.linalg.pinv(vectors) / strengths).astype(np.float32)
    return concentrations


def _triple(vector: NDArray[np.float64]) -> tuple[float, float, float]:
    red, green, blue = (round(float(value), 6) for value in vector)
    return red, green, blue
