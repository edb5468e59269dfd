"""The sections of a report, in the order of the page."""

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
"""Section by its name in the setting `evaluate.sections`."""


def build_sections(inputs: SectionInputs, *, names: Sequence[str]) -> list[Section]:
    """Return the sections of these names, without those that do not apply to the stores."""
    sections = (BUILDERS[name](inputs) for name in BUILDERS if name in names)
    return [section for section in sections if section is not None]
