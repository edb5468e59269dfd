"""Measurements of what a pathologist reads in a patch: nuclei, their size, shape, stain, halo and density."""

from histosynth.metrics.morphology.compare import Difference, compare_morphology
from histosynth.metrics.morphology.measure import (
    ASSUMED_MPP,
    Morphology,
    concatenate,
    fit_pooled_stains,
    measure_images,
    measure_store,
)
from histosynth.metrics.morphology.nuclei import Nuclei, find_nuclei
from histosynth.metrics.morphology.shapes import MORPHOLOGY_FEATURES, density_per_mm2, measure_nuclei, touches_edge

__all__ = [
    "ASSUMED_MPP",
    "MORPHOLOGY_FEATURES",
    "Difference",
    "Morphology",
    "Nuclei",
    "compare_morphology",
    "concatenate",
    "density_per_mm2",
    "find_nuclei",
    "fit_pooled_stains",
    "measure_images",
    "measure_nuclei",
    "measure_store",
    "touches_edge",
]
