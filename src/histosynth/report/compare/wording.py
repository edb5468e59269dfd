"""The sentences of a comparison: which model is better where intervals distinguish them, and cautions."""

from collections.abc import Iterator, Sequence

from histosynth.caution import Caution
from histosynth.report.compare.reports import ModelReport, labels_of, shared_sources
from histosynth.report.compare.schema import ComparisonFacts
from histosynth.report.comparison import DISTANCES, MEASURES, Comparison
from histosynth.report.wording import format_interval, format_result

SIDES = {"held_out": "held-out", "train": "training"}
_FLOOR_TOLERANCE = 0.01  # relative; on another machine the same patches differ in the last digits only


def measure_name(measure: str, *, extractor: str) -> str:
    """Return the name of a measure: FID only for Inception features."""
    return "FID" if measure == "frechet_distance" and extractor == "inception" else MEASURES[measure]


def verdict(comparison: ComparisonFacts, *, alarmed: Sequence[str]) -> list[str]:
    """Return the findings over all labels. `alarmed` names the models that have a warning in their report."""
    # The basis: features, real patches, n.
    patients = f"{SIDES[comparison.reference]} patients"
    basis = f"Measured with {comparison.extractor.title} features against the same real patches of {patients}"
    pair = comparison.reference_pair
    models = comparison.overall.models
    n = max((pairs[pair].n for pairs in models.values() if pair in pairs), default=0)
    if not n:
        return [f"{basis}. No label has enough patches on every side for an overall result; see each label."]

    # The best model by each measure.
    best = comparison.overall.best
    names = {measure: measure_name(measure, extractor=comparison.extractor.name) for measure in best}
    leads = {model: [names[m] for m, top in best.items() if top.models == [model]] for model in models}
    warning = {model: " (see the warnings about it)" if model in alarmed else "" for model in leads}
    first = "; ".join(
        f"{model}{warning[model]} in {', '.join(measures)}" for model, measures in leads.items() if measures
    )
    sentences = [f"Best results: {first}."] if first else []

    # Those that intervals distinguish, and those that they do not.
    for measure, top in best.items():
        if top.distinguishable:
            model = top.models[0]
            value = models[model][pair].measures[measure]
            extreme = "lowest" if measure in DISTANCES else "highest"
            sentences.append(
                f"{model}{warning[model]} has the {extreme} {names[measure]}, {format_result(value, measure)}; its "
                f"{value.level:.0%} interval, {format_interval(value, measure)}, overlaps that of no other model."
            )
    if note := next((top.note for top in best.values() if top.note), None):
        sentences.append(f"No measure shows that a model is better: intervals were {note}.")
    elif overlapping := [names[measure] for measure, top in best.items() if not top.distinguishable]:
        sentences.append(f"Not distinguishable, since intervals overlap: {', '.join(overlapping)}.")
    return [*sentences, f"{basis}, n = {n:,} per side."]


def cautions(reports: Sequence[ModelReport], *, not_shown: Sequence[str]) -> list[Caution]:
    """Return everything that limits the comparison, the most serious first.

    `not_shown` says which patches cannot be shown, and why.
    """
    notes = [Caution("note", text) for text in (*_of_comparison(reports), *not_shown)]
    return sorted([*_of_reports(reports), *notes], key=lambda caution: caution.level != "alarm")


def alarmed(reports: Sequence[ModelReport]) -> list[str]:
    """Return the models that have a warning in their report."""
    return [r.name for r in reports if any(caution.level == "alarm" for caution in r.facts.cautions)]


def _of_reports(reports: Sequence[ModelReport]) -> Iterator[Caution]:
    """Yield the cautions of the reports: once if all reports have the same, else with the names of the models."""
    texts: dict[tuple[str, str], list[str]] = {}
    for report in reports:
        for caution in report.facts.cautions:
            texts.setdefault((caution.level, caution.text), []).append(report.name)
    for (level, text), names in texts.items():
        prefix = "" if len(names) == len(reports) else f"{', '.join(names)}: "
        yield Caution("alarm" if level == "alarm" else "note", f"{prefix}{text}")


def _of_comparison(reports: Sequence[ModelReport]) -> Iterator[str]:
    # Names.
    if shared := shared_sources(reports):
        yield (
            f"Several reports are of samples with the source {', '.join(shared)}: "
            "the names of these models include the directory of the report."
        )

    # Versions.
    programs = [(r.facts.provenance.versions.histosynth, r.facts.provenance.git_revision) for r in reports]
    if len(set(programs)) > 1:
        which = "; ".join(
            f"{r.name}: {version}{f', revision {git[:12]}{git[40:]}' if git else ''}"
            for r, (version, git) in zip(reports, programs, strict=True)
        )
        yield f"The reports were made by different versions of histosynth, which may measure differently ({which})."

    # Floors, which are of the same real patches in every report.
    for label in (None, *labels_of(reports)):
        values = [v for r in reports if (v := _floor(r.row(label).get("train_vs_held_out"))) is not None]
        if values and max(values) - min(values) > _FLOOR_TOLERANCE * max(values):
            yield (
                f"The distance between the same real patches differs between the reports ({label or 'overall'}: "
                f"{min(values):.4g} to {max(values):.4g}): they did not measure alike; evaluate again on one machine."
            )


def _floor(comparison: Comparison | None) -> float | None:
    return comparison.value("frechet_distance") if comparison else None
