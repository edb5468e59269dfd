"""Stain normalization."""

from histosynth.stain.macenko import Macenko
from histosynth.stain.normalizer import (
    REASONS,
    Fit,
    StainError,
    StainNormalizer,
    fit,
    is_tissue,
    normalizers,
    tissue_pixels,
)
from histosynth.stain.two_stains import StainFit
from histosynth.stain.vahadane import Vahadane

__all__ = [
    "REASONS",
    "Fit",
    "Macenko",
    "StainError",
    "StainFit",
    "StainNormalizer",
    "Vahadane",
    "fit",
    "is_tissue",
    "normalizers",
    "tissue_pixels",
]
