"""A section of the report: one question, answered in `report.json`, in a sentence, on the page and in charts.

The main results are those of `comparison`. Everything else in a report is a section of this form, so that the modules
that build, record and render a report need not know any section by name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histosynth.caution import Caution
from histosynth.config import EvaluateSettings
from histosynth.metrics.features import Features
from histosynth.report.activations import Activations
from histosynth.report.sides import Plan
from histosynth.store.store import Store

ExtractFeatures = Callable[[Store, NDArray[np.int64]], Features]
"""Returns the features of these rows of a store, from the cache where it holds them."""


@dataclass(frozen=True, kw_only=True)
class SectionInputs:
    """The input of every section."""

    plan: Plan
    activations: Activations
    extract: ExtractFeatures
    """For patches that are not in the main results."""
    settings: EvaluateSettings
    progress: bool
    """Show a bar on standard error for long work."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One question and its answer."""

    key: str
    """Key in `report.json`; `sections/<key>/section.html.j2`, `section.css` and `terms.html.j2` show it on the page."""
    facts: Mapping[str, Any]
    """Content of that key in `report.json`."""
    context: Mapping[str, Any]
    """Variables of the template, as `section.context`."""
    sentences: Sequence[str] = ()
    """Findings, shown at the top of the page."""
    cautions: Sequence[Caution] = ()
    charts: Mapping[str, bytes] = field(default_factory=dict)
    """File name under `figures/` -> content."""
