"""Stain normalization."""

from histosynth.stain.macenko import Macenko
from histosynth.stain.normalizer import StainError, StainFit, StainNormalizer, normalizers

__all__ = ["Macenko", "StainError", "StainFit", "StainNormalizer", "normalizers"]
