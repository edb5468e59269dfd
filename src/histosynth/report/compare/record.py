"""The content of `compare.json`, from the reports alone."""

from collections.abc import Sequence

from histosynth.caution import Caution
from histosynth.report.compare.ranking import best_of
from histosynth.report.compare.reports import ModelReport, labels_of
from histosynth.report.compare.schema import (
    KIND,
    SCHEMA_VERSION,
    ComparisonFacts,
    ModelFacts,
    ReferencePair,
    Row,
    Scores,
)
from histosynth.report.comparison import MEASURES
from histosynth.rundir import provenance

_REFERENCE_PAIRS: tuple[ReferencePair, ...] = ("fake_vs_held_out", "fake_vs_train")


def record(reports: Sequence[ModelReport]) -> ComparisonFacts:
    """Return the results side by side, still without verdict and cautions (`wording`)."""
    # The reference: held-out patients where any report has results against them, else training patients.
    facts = reports[0].facts
    labels = labels_of(reports)
    held_out = [report.row(label).get("fake_vs_held_out") for report in reports for label in (None, *labels)]
    reference_pair: ReferencePair = "fake_vs_held_out" if any(c and c.n for c in held_out) else "fake_vs_train"

    # The record.
    scores = {report.name: report.facts.inception_score for report in reports}
    return ComparisonFacts(
        kind=KIND,
        schema_version=SCHEMA_VERSION,
        verdict=[],
        cautions=list[Caution](),
        reference="held_out" if reference_pair == "fake_vs_held_out" else "train",
        models={report.name: _model(report) for report in reports},
        overall=_row(reports, None, reference_pair),
        overall_labels=facts.overall_labels,
        labels={label: _row(reports, label, reference_pair) for label in labels},
        inception_score=Scores(
            models={name: sides["fake"] for name, sides in scores.items() if "fake" in sides},
            real={side: facts.inception_score[side] for side in ("held_out", "train") if side in facts.inception_score},
        ),
        extractor=facts.extractor,
        neighbors=facts.settings.neighbors,
        real=facts.stores["real"],
        provenance=provenance(),
    )


def _model(report: ModelReport) -> ModelFacts:
    program = report.facts.provenance
    return ModelFacts(
        report=str(report.path),
        report_sha256=report.sha256,
        samples=report.facts.stores["fake"],
        evaluated_with={"version": program.versions.histosynth, "git_revision": program.git_revision},
    )


def _row(reports: Sequence[ModelReport], label: str | None, reference_pair: ReferencePair) -> Row:
    models = {r.name: {pair: r.row(label)[pair] for pair in _REFERENCE_PAIRS if pair in r.row(label)} for r in reports}
    floors = [c for r in reports if (c := r.row(label).get("train_vs_held_out")) and c.n]
    main = [row[reference_pair] for row in models.values() if reference_pair in row]
    note = next((i.note for comparison in main for i in comparison.measures.values() if i.note), None)
    best = {}
    for measure in MEASURES:
        intervals = {
            name: row[reference_pair].measures[measure]
            for name, row in models.items()
            if reference_pair in row and measure in row[reference_pair].measures
        }
        if top := best_of(intervals, measure=measure, note=note):
            best[measure] = top
    return Row(models=models, floor=floors[0] if floors else None, best=best)
