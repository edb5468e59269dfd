"""Stain normalization: Macenko, Vahadane and Reinhard."""

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
from histosynth.stain.reinhard import LabFit, Reinhard
from histosynth.stain.two_stains import StainFit
from histosynth.stain.vahadane import Vahadane

__all__ = [
    "REASONS",
    "Fit",
    "LabFit",
    "Macenko",
    "Reinhard",
    "StainError",
    "StainFit",
    "StainNormalizer",
    "Vahadane",
    "fit",
    "is_tissue",
    "normalizers",
    "tissue_pixels",
]
