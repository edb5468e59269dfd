"""Phantom slides: synthetic histology whose truth is known, to try and to test the way from slide to report."""

from histosynth.slides.phantom.cohort import Cohort, draw_cohort, draw_slide
from histosynth.slides.phantom.drawing import GENOTYPES, Phantom, Truth, draw_phantom

__all__ = ["GENOTYPES", "Cohort", "Phantom", "Truth", "draw_cohort", "draw_phantom", "draw_slide"]
