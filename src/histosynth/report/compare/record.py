"""What `compare.json` holds, from the reports alone."""

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


def record(entries: Sequence[ModelReport]) -> ComparisonFacts:
    """The figures side by side, as yet without verdict and cautions (`words`)."""
    facts = entries[0].facts
    labels = labels_of(entries)
    known = [entry.row(label).get("fake_vs_held_out") for entry in entries for label in (None, *labels)]
    against: ReferencePair = "fake_vs_held_out" if any(found and found.n for found in known) else "fake_vs_train"
    scores = {entry.name: entry.facts.inception_score for entry in entries}
    return ComparisonFacts(
        kind=KIND,
        schema_version=SCHEMA_VERSION,
        verdict=[],
        cautions=list[Caution](),
        reference="held_out" if against == "fake_vs_held_out" else "train",
        models={entry.name: _model(entry) for entry in entries},
        overall=_row(entries, None, against),
        overall_labels=facts.overall_labels,
        labels={label: _row(entries, label, against) for label in labels},
        inception_score=Scores(
            models={name: found["fake"] for name, found in scores.items() if "fake" in found},
            real={side: facts.inception_score[side] for side in ("held_out", "train") if side in facts.inception_score},
        ),
        extractor=facts.extractor,
        neighbors=facts.settings["neighbors"],
        real=facts.stores["real"],
        provenance=provenance(),
    )


def _model(entry: ModelReport) -> ModelFacts:
    made = entry.facts.provenance
    return ModelFacts(
        report=str(entry.path),
        report_sha256=entry.sha256,
        samples=entry.facts.stores["fake"],
        evaluated_with={"version": made["versions"]["histosynth"], "git_revision": made["git_revision"]},
    )


def _row(entries: Sequence[ModelReport], label: str | None, against: ReferencePair) -> Row:
    models = {e.name: {pair: e.row(label)[pair] for pair in _REFERENCE_PAIRS if pair in e.row(label)} for e in entries}
    floors = [found for e in entries if (found := e.row(label).get("train_vs_held_out")) and found.n]
    main = [row[against] for row in models.values() if against in row]
    note = next((i.note for comparison in main for i in comparison.measures.values() if i.note), None)
    best = {}
    for measure in MEASURES:
        taken = {
            name: row[against].measures[measure]
            for name, row in models.items()
            if against in row and measure in row[against].measures
        }
        if top := best_of(taken, measure=measure, note=note):
            best[measure] = top
    return Row(models=models, floor=floors[0] if floors else None, best=best)
