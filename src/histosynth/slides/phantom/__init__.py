"""Phantom slides: drawn histology of known truth, for trying and testing all steps from slides to reports."""

from histosynth.slides.phantom.cohort import Cohort, draw_cohort, draw_slide
from histosynth.slides.phantom.drawing import GENOTYPES, Phantom, Truth, draw_phantom

__all__ = ["GENOTYPES", "Cohort", "Phantom", "Truth", "draw_cohort", "draw_phantom", "draw_slide"]
