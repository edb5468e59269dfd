"""A section of the report: one question, answered in `report.json`, in a sentence, on the page and in pictures.

The main figures stand in `comparison`; everything else that a report tells is a section of this form, so that building,
recording and rendering know none of them by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from histosynth.caution import Caution
from histosynth.config import EvaluateSettings
from histosynth.report.activations import Activations
from histosynth.report.sides import Plan


@dataclass(frozen=True, kw_only=True)
class SectionInputs:
    """What a section is made from."""

    plan: Plan
    activations: Activations
    settings: EvaluateSettings
    progress: bool
    """Show a bar on standard error where it takes long."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """What one question gives to the report."""

    key: str
    """Its key in `report.json`; `templates/<key>.html.j2`, `.css` and `<key>_terms.html.j2` show it on the page."""
    facts: Mapping[str, Any]
    """What `report.json` holds of it."""
    context: Mapping[str, Any]
    """Names for the template."""
    sentences: Sequence[str] = ()
    """Findings for the head of the page."""
    cautions: Sequence[Caution] = ()
    charts: Mapping[str, bytes] = field(default_factory=dict)
    """Files under `figures/`."""
