"""What a pathologist reads in a patch, measured: nuclei, their size, shape, stain, halo and density."""

from histosynth.metrics.morphology.compare import Difference, compare_morphology
from histosynth.metrics.morphology.measure import (
    ASSUMED_MPP,
    Morphology,
    join,
    measure_images,
    measure_store,
    set_stains,
)
from histosynth.metrics.morphology.nuclei import Nuclei, find_nuclei
from histosynth.metrics.morphology.shapes import FEATURES, cut_by_edge, density_per_mm2, measure_nuclei

__all__ = [
    "ASSUMED_MPP",
    "FEATURES",
    "Difference",
    "Morphology",
    "Nuclei",
    "compare_morphology",
    "cut_by_edge",
    "density_per_mm2",
    "find_nuclei",
    "join",
    "measure_images",
    "measure_nuclei",
    "measure_store",
    "set_stains",
]
