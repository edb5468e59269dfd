"""The sections of a report, in their order on the page."""

from collections.abc import Callable, Sequence

from histosynth.report.sections.color.section import color_section
from histosynth.report.sections.feature_map.section import feature_map_section
from histosynth.report.sections.label_check.section import label_check_section
from histosynth.report.sections.memorization.section import memorization_section
from histosynth.report.sections.morphology.section import morphology_section
from histosynth.report.sections.section import Section, SectionInputs

BUILDERS: dict[str, Callable[[SectionInputs], Section | None]] = {
    "color": color_section,
    "morphology": morphology_section,
    "memorization": memorization_section,
    "label_check": label_check_section,
    "feature_map": feature_map_section,
}
"""By the name that `evaluate.sections` gives them."""


def build_sections(inputs: SectionInputs, *, names: Sequence[str]) -> list[Section]:
    """The sections of these names that have something to tell."""
    found = (BUILDERS[name](inputs) for name in BUILDERS if name in names)
    return [section for section in found if section is not None]
