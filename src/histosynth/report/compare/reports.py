"""The reports to compare, and a check that they are comparable: that they were measured alike.

A distance is a distance between certain features, to certain patches, at a certain n. If one of these differs between
two reports, the result differs whatever the models do. Such reports are rejected, with what to measure again.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from histosynth.errors import HistosynthError
from histosynth.report.build import PAGE
from histosynth.report.comparison import Comparison
from histosynth.report.schema import FACTS, Pair, ReportFacts, read_report


@dataclass(frozen=True, kw_only=True)
class ModelReport:
    """A report, and the name of its model in the tables."""

    name: str
    path: Path
    sha256: str  # of its report.json
    facts: ReportFacts

    def row(self, label: str | None) -> Mapping[Pair, Comparison]:
        """Return the comparisons of a label (None: overall); empty if the report does not have the label."""
        return self.facts.overall if label is None else self.facts.labels.get(label, {})


def read_reports(paths: Sequence[Path]) -> list[ModelReport]:
    """Read these reports, in this order, and check that they are comparable.

    A model is named after its source; models with the same source also get the directory of their report.

    Raises:
        HistosynthError: there are fewer than two, one is not a report, or they were not measured alike.
    """
    # The directories, each once.
    directories = [path.parent if path.name in (FACTS, PAGE) else path for path in paths]
    if len(directories) < 2:
        raise HistosynthError(f"nothing to compare {', '.join(map(str, directories))} with; give two or more reports")
    for i, directory in enumerate(directories):
        if directory.resolve() in [earlier.resolve() for earlier in directories[:i]]:
            raise HistosynthError(f"{directory} is given twice; give each report once")

    # Their content, then every pair of them.
    facts, contents = zip(*map(read_report, directories), strict=True)
    rows = zip(_names(directories, facts), directories, contents, facts, strict=True)
    reports = [
        ModelReport(name=name, path=directory, sha256=hashlib.sha256(content.encode()).hexdigest(), facts=report_facts)
        for name, directory, content, report_facts in rows
    ]
    for one, other in combinations(reports, 2):
        for difference in _differences(one, other):
            raise HistosynthError(difference)
    return reports


def labels_of(reports: Sequence[ModelReport]) -> list[str]:
    """Return every label of any report, sorted as in the reports."""
    return sorted({label for report in reports for label in report.facts.labels})


def shared_sources(reports: Sequence[ModelReport]) -> list[str]:
    """Return the sources that more than one report names."""
    all_sources = [source for report in reports for source in report.facts.stores["fake"].sources]
    return sorted({source for source in all_sources if all_sources.count(source) > 1})


def _names(directories: Sequence[Path], facts: Sequence[ReportFacts]) -> list[str]:
    sources = [", ".join(report_facts.stores["fake"].sources) for report_facts in facts]
    depth, tails = 0, [""] * len(directories)
    while len(set(tails)) < len(tails):
        depth += 1
        tails = ["/".join(directory.resolve().parts[-depth:]) for directory in directories]
    return [
        source if sources.count(source) == 1 else f"{source} ({tail})"
        for source, tail in zip(sources, tails, strict=True)
    ]


def _differences(one: ModelReport, other: ModelReport) -> Iterator[str]:
    """Yield why two reports are not comparable, each with its remedy."""
    # Features.
    a, b = one.facts, other.facts
    for key in ("name", "weights_sha256", "preprocessing", "dimension"):
        if (x := getattr(a.extractor, key)) != (y := getattr(b.extractor, key)):
            what = "extractor" if key == "name" else key.replace("_", " ")
            yield (
                f"features differ, so the reports are not comparable: {what} {x} in {one.path}, {y} in {other.path}; "
                "evaluate both with the same --extractor and --weights"
            )

    # Stores.
    real = [facts.stores["real"] for facts in (a, b)]
    if real[0].sha256 != real[1].sha256:
        stores = ", ".join(
            f"{s.path} (SHA-256 {s.sha256[:12]}) in {e.path}" for s, e in zip(real, (one, other), strict=True)
        )
        yield f"real patches differ, so the reports are not comparable: {stores}; evaluate both against one store"
    if a.stores["fake"].sha256 == b.stores["fake"].sha256:
        yield f"{one.path} and {other.path} are of the same samples; give reports of different models"

    # Settings, labels and n.
    for key in ("neighbors", "subsample_seed"):
        if (x := getattr(a.settings, key)) != (y := getattr(b.settings, key)):
            yield f"{key} differs: {x} in {one.path}, {y} in {other.path}; evaluate both with the same value"
    if a.overall_labels != b.overall_labels:
        pooled = [f"{', '.join(f.overall_labels) or 'none'} in {e.path}" for f, e in ((a, one), (b, other))]
        yield f"overall results pool different labels: {'; '.join(pooled)}; sample the missing ones and evaluate again"
    for label in (None, *labels_of([one, other])):
        row = other.row(label)
        for pair, comparison in one.row(label).items():
            if pair in row and comparison.n and row[pair].n and comparison.n != row[pair].n:
                yield (
                    f"n differs, and a Fréchet distance falls with n: {label or 'overall'} has {comparison.n:,} "
                    f"patches per side in {one.path}, {row[pair].n:,} in {other.path}; sample the same number per "
                    "label for both (--per-label) and evaluate again"
                )
