"""The section on labels: do samples show what their label says, and can they stand in for real patches?"""

from dataclasses import asdict

from tqdm import tqdm

from histosynth.caution import Caution
from histosynth.metrics.classifier import Accuracy
from histosynth.report.charts import chart_files
from histosynth.report.sections.label_check.chart import QUESTIONS, TITLES, label_chart
from histosynth.report.sections.label_check.measure import LabelCheck, check_labels
from histosynth.report.sections.section import Section, SectionInputs


def label_check_section(inputs: SectionInputs) -> Section | None:
    """The classifier on the patches of the overall figures; no section where there is a single label."""
    if len(inputs.plan.labels) < 2:
        return None
    with tqdm(total=3, desc="label classifiers", disable=not inputs.progress) as bar:
        check = check_labels(inputs.activations, advance=bar.update)
    measured = check.note is None
    return Section(
        key="label_check",
        facts={**asdict(check), "chance": check.chance if measured else None},
        context={"check": check, "titles": TITLES, "questions": QUESTIONS, "notes": notes(check)},
        sentences=[verdict(check)] if measured else [],
        cautions=cautions(check),
        charts=chart_files(label_chart(check), name="label_check") if measured else {},
    )


def verdict(check: LabelCheck) -> str:
    """The finding in a sentence; accuracies are means over labels."""
    synthetic, held_out = (check.accuracy[key] for key in ("real_on_synthetic", "real_on_held_out"))
    return (
        f"A classifier trained on real patches recognizes the label of {_format_accuracy(synthetic)} of the synthetic "
        f"patches, and of {_format_accuracy(held_out)} of held-out real ones; chance is {check.chance:.0%}."
    )


def _format_accuracy(found: Accuracy) -> str:
    balanced = found.balanced
    return f"{balanced.value:.0%} ({balanced.level:.0%} interval {balanced.low:.0%} to {balanced.high:.0%})"


def cautions(check: LabelCheck) -> list[Caution]:
    """Where the ceiling is no better than chance, the check is blind."""
    if check.note or check.accuracy["real_on_held_out"].balanced.low > check.chance:
        return []
    return [
        Caution(
            "note",
            "Not even among real patches do these features tell the labels of held-out patients better than chance: "
            "that a classifier does not recognize the label of synthetic patches says nothing against them.",
        )
    ]


def notes(check: LabelCheck) -> list[str]:
    """What the intervals leave out, each reason once."""
    return sorted({found.balanced.note for found in check.accuracy.values() if found.balanced.note})
