"""What a comparison says in sentences: who is better where intervals tell, what is not told apart, and cautions."""

from collections.abc import Iterator, Sequence

from histosynth.caution import Caution
from histosynth.report.compare.reports import ModelReport, labels_of, shared_sources
from histosynth.report.compare.schema import ComparisonFacts
from histosynth.report.comparison import DISTANCES, MEASURES, Comparison
from histosynth.report.wording import format_interval, format_result

SIDES = {"held_out": "held-out", "train": "training"}
_FLOORS_ALIKE = 0.01  # relative; the same patches on another machine give the same but for the last digits


def measure_name(measure: str, *, extractor: str) -> str:
    """What a measure is called: FID only where the features are Inception's."""
    return "FID" if measure == "frechet_distance" and extractor == "inception" else MEASURES[measure]


def verdict(found: ComparisonFacts, *, alarmed: Sequence[str]) -> list[str]:
    """The findings over all labels. `alarmed` names the models that a report warns of."""
    patients = f"{SIDES[found.reference]} patients"
    basis = f"Measured with {found.extractor.title} features against the same real patches of {patients}"
    main = [row[found.reference_pair] for row in found.overall.models.values() if found.reference_pair in row]
    n = max((comparison.n for comparison in main), default=0)
    if not n:
        return [f"{basis}. No label has enough patches on every side for an overall figure; see the labels one by one."]
    measures = found.overall.best
    names = {measure: measure_name(measure, extractor=found.extractor.name) for measure in measures}
    leads = {
        model: [names[m] for m, best in measures.items() if best.models == [model]] for model in found.overall.models
    }
    mind = {model: " (mind the warnings about it)" if model in alarmed else "" for model in leads}
    first = "; ".join(f"{model}{mind[model]} in {', '.join(led)}" for model, led in leads.items() if led)
    said = [f"Best figures: {first}."] if first else []
    for measure, best in measures.items():
        if best.distinguishable:
            model = best.models[0]
            value = found.overall.models[model][found.reference_pair].measures[measure]
            extreme = "lowest" if measure in DISTANCES else "highest"
            said.append(
                f"{model}{mind[model]} has the {extreme} {names[measure]}, {format_result(value, measure)}, and its "
                f"{value.level:.0%} interval, {format_interval(value, measure)}, overlaps that of no other model."
            )
    if note := next((best.note for best in measures.values() if best.note), None):
        said.append(f"No model is called better by any of them: intervals were {note}.")
    elif level := [names[measure] for measure, best in measures.items() if not best.distinguishable]:
        said.append(f"Not told apart, as intervals overlap: {', '.join(level)}.")
    return [*said, f"{basis}, n = {n:,} on each side."]


def cautions(entries: Sequence[ModelReport], *, pictures: Sequence[str]) -> list[Caution]:
    """Everything that limits the comparison, the gravest first. `pictures` says which patches cannot be shown."""
    own = [Caution("note", text) for text in (*_own(entries), *pictures)]
    return sorted([*_inherited(entries), *own], key=lambda caution: caution.level != "alarm")


def alarmed(entries: Sequence[ModelReport]) -> list[str]:
    """The models that their own report warns of."""
    return [e.name for e in entries if any(caution.level == "alarm" for caution in e.facts.cautions)]


def _inherited(entries: Sequence[ModelReport]) -> Iterator[Caution]:
    """What the reports say themselves: once where all say the same, else with the models' names."""
    texts: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        for caution in entry.facts.cautions:
            texts.setdefault((caution.level, caution.text), []).append(entry.name)
    for (level, text), names in texts.items():
        whose = "" if len(names) == len(entries) else f"{', '.join(names)}: "
        yield Caution("alarm" if level == "alarm" else "note", f"{whose}{text}")


def _own(entries: Sequence[ModelReport]) -> Iterator[str]:
    if shared := shared_sources(entries):
        yield (
            f"More than one report is of samples that call their source {', '.join(shared)}: the models' names carry "
            "the directory of the report, too."
        )
    made = [(e.facts.provenance["versions"]["histosynth"], e.facts.provenance["git_revision"]) for e in entries]
    if len(set(made)) > 1:
        which = "; ".join(
            f"{e.name}: {version}{f', revision {git[:12]}{git[40:]}' if git else ''}"
            for e, (version, git) in zip(entries, made, strict=True)
        )
        yield f"The reports were made by different versions of histosynth, which may measure differently ({which})."
    for label in (None, *labels_of(entries)):
        values = [v for e in entries if (v := _floor(e.row(label).get("train_vs_held_out"))) is not None]
        if values and max(values) - min(values) > _FLOORS_ALIKE * max(values):
            yield (
                f"The distance between the same real patches differs between the reports ({label or 'overall'}: "
                f"{min(values):.4g} to {max(values):.4g}): they did not measure alike; evaluate again on one machine."
            )


def _floor(comparison: Comparison | None) -> float | None:
    return comparison.value("frechet_distance") if comparison else None
