"""Tumor outlines of a slide, from the files that annotation tools write.

QuPath (GeoJSON), ASAP, Aperio ImageScope, HALO (XML) and Hamamatsu NDP.view (NDPA) are read; the content tells which it
is, not the suffix. Each format has a module that yields a `Drawing`; `read` picks the classes, repairs, subtracts and
places. What comes out counts in level-0 pixels of the whole slide, y downward.
"""

from histosynth.slides.annotations.find import OUTLINE_SUFFIXES, find_outlines
from histosynth.slides.annotations.frame import Frame
from histosynth.slides.annotations.read import Outlines, examine, outlined_classes, read_outlines

__all__ = ["OUTLINE_SUFFIXES", "Frame", "Outlines", "examine", "find_outlines", "outlined_classes", "read_outlines"]
