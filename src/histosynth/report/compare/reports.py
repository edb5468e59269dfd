"""The reports that are put side by side, and whether they may be: only what was measured alike compares.

A distance is a distance between features, to some patches, at some n; where one of them differs between two reports, so
does the figure, whatever the models did. Such reports are refused, with what to measure again.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from histosynth.errors import HistosynthError
from histosynth.report.build import FACTS, PAGE
from histosynth.report.comparison import Comparison
from histosynth.report.schema import KIND, SCHEMA_VERSION, Pair, ReportFacts


@dataclass(frozen=True, kw_only=True)
class ModelReport:
    """A report, and what the tables call its model."""

    name: str
    path: Path
    sha256: str  # of its report.json
    facts: ReportFacts

    def row(self, label: str | None) -> Mapping[Pair, Comparison]:
        """The comparisons of a label (None: of all); empty where the report does not know the label."""
        return self.facts.overall if label is None else self.facts.labels.get(label, {})


def read_reports(paths: Sequence[Path]) -> list[ModelReport]:
    """Read these reports, in this order, and see that their figures may stand side by side.

    A model is called by its source, and where two have the same, by the directory of its report, too.

    Raises:
        HistosynthError: there are fewer than two, one is no report, or they were not measured alike.
    """
    places = [path.parent if path.name in (FACTS, PAGE) else path for path in paths]
    if len(places) < 2:
        raise HistosynthError(
            f"there is nothing to compare {', '.join(map(str, places))} with; name two or more reports"
        )
    for i, place in enumerate(places):
        if place.resolve() in [earlier.resolve() for earlier in places[:i]]:
            raise HistosynthError(f"{place} is named twice; name each report once")
    contents = [_read(place) for place in places]
    facts = [_facts(place, content) for place, content in zip(places, contents, strict=True)]
    entries = [
        ModelReport(name=name, path=place, sha256=hashlib.sha256(content).hexdigest(), facts=found)
        for name, place, content, found in zip(_names(places, facts), places, contents, facts, strict=True)
    ]
    for one, other in combinations(entries, 2):
        for difference in _differences(one, other):
            raise HistosynthError(difference)
    return entries


def labels_of(entries: Sequence[ModelReport]) -> list[str]:
    """Every label that a report knows, sorted as in the reports."""
    return sorted({label for entry in entries for label in entry.facts.labels})


def shared_sources(entries: Sequence[ModelReport]) -> list[str]:
    """The sources that more than one of the reports names."""
    every = [source for entry in entries for source in entry.facts.stores["fake"].sources]
    return sorted({source for source in every if every.count(source) > 1})


def _read(place: Path) -> bytes:
    try:
        return (place / FACTS).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise HistosynthError(f"{place} is no report: it has no {FACTS}; make one with `histosynth evaluate`") from None


def _facts(place: Path, content: bytes) -> ReportFacts:
    try:
        found: Any = json.loads(content)
    except ValueError as error:
        raise HistosynthError(f"{place / FACTS} is damaged ({error}); evaluate again") from error
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise HistosynthError(f"{place / FACTS} is no report of histosynth; make one with `histosynth evaluate`")
    if (version := found.get("schema_version")) != SCHEMA_VERSION:
        raise HistosynthError(
            f"{place / FACTS} has schema version {version}, and this histosynth reads {SCHEMA_VERSION}; evaluate again"
        )
    try:
        return ReportFacts.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise HistosynthError(f"{place / FACTS} is damaged ({where}: {first['msg']}); evaluate again") from error


def _names(places: Sequence[Path], facts: Sequence[ReportFacts]) -> list[str]:
    sources = [", ".join(found.stores["fake"].sources) for found in facts]
    depth, tails = 0, [""] * len(places)
    while len(set(tails)) < len(tails):
        depth += 1
        tails = ["/".join(place.resolve().parts[-depth:]) for place in places]
    return [
        source if sources.count(source) == 1 else f"{source} ({tail})"
        for source, tail in zip(sources, tails, strict=True)
    ]


def _differences(one: ModelReport, other: ModelReport) -> Iterator[str]:
    """Why the figures of two reports do not compare, and the mend."""
    a, b = one.facts, other.facts
    for key in ("name", "weights_sha256", "preprocessing", "dimension"):
        if (x := getattr(a.extractor, key)) != (y := getattr(b.extractor, key)):
            what = "extractor" if key == "name" else key.replace("_", " ")
            yield (
                f"features differ, and their figures do not compare: {what} {x} in {one.path}, {y} in {other.path}; "
                "evaluate both with the same --extractor and --weights"
            )
    real = [facts.stores["real"] for facts in (a, b)]
    if real[0].sha256 != real[1].sha256:
        found = ", ".join(
            f"{s.path} (SHA-256 {s.sha256[:12]}) in {e.path}" for s, e in zip(real, (one, other), strict=True)
        )
        yield f"real patches differ, and the figures do not compare: {found}; evaluate both against one store"
    if a.stores["fake"].sha256 == b.stores["fake"].sha256:
        yield f"{one.path} and {other.path} are of the same samples; name reports of different models"
    for key in ("neighbors", "subsample_seed"):
        if (x := a.settings.get(key)) != (y := b.settings.get(key)):
            yield f"{key} differs: {x} in {one.path}, {y} in {other.path}; evaluate both with the same"
    if a.overall_labels != b.overall_labels:
        pooled = [f"{', '.join(f.overall_labels) or 'none'} in {e.path}" for f, e in ((a, one), (b, other))]
        yield f"overall figures pool different labels: {'; '.join(pooled)}; sample what lacks, and evaluate again"
    for label in (None, *labels_of([one, other])):
        row = other.row(label)
        for pair, x in one.row(label).items():
            if pair in row and x.n and row[pair].n and x.n != row[pair].n:
                yield (
                    f"n differs, and a Fréchet distance falls with n: {label or 'overall'} takes {x.n:,} patches of "
                    f"each side in {one.path}, {row[pair].n:,} in {other.path}; sample as many of each label for both "
                    "(--per-label), and evaluate again"
                )
