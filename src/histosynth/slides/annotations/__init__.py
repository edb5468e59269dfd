"""Tumor outlines of a slide, read from the files of annotation tools.

Supported are QuPath (GeoJSON), ASAP, Aperio ImageScope and HALO (XML), and Hamamatsu NDP.view (NDPA). The content of a
file determines its format, not the suffix. Each format has a module that returns `ParsedAnnotations`; `read` selects
the classes, repairs their polygons, subtracts holes, and converts the result to level-0 pixels of the whole slide, y
downward.
"""

from histosynth.slides.annotations.find import OUTLINE_SUFFIXES, find_outlines
from histosynth.slides.annotations.frame import SlideFrame
from histosynth.slides.annotations.read import (
    ClassedArea,
    Outlines,
    outlined_classes,
    read_areas,
    read_outlines,
    summarize_outlines,
)

__all__ = [
    "OUTLINE_SUFFIXES",
    "ClassedArea",
    "Outlines",
    "SlideFrame",
    "find_outlines",
    "outlined_classes",
    "read_areas",
    "read_outlines",
    "summarize_outlines",
]
