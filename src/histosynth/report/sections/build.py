"""The sections of a report, in their order on the page."""

from collections.abc import Callable, Sequence

from histosynth.report.color_section import color_section
from histosynth.report.labels_section import labels_section
from histosynth.report.map_section import map_section
from histosynth.report.memorization_section import memorization_section
from histosynth.report.morphology_section import morphology_section
from histosynth.report.section import Material, Section

BUILDERS: dict[str, Callable[[Material], Section | None]] = {
    "color": color_section,
    "morphology": morphology_section,
    "memorization": memorization_section,
    "labels": labels_section,
    "map": map_section,
}
"""By the name that `evaluate.sections` gives them."""


def build_sections(material: Material, *, names: Sequence[str]) -> list[Section]:
    """The sections of these names that have something to tell."""
    found = (BUILDERS[name](material) for name in BUILDERS if name in names)
    return [section for section in found if section is not None]
