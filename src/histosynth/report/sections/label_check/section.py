"""The section on labels: do synthetic patches show their label, and can they replace real patches in training?"""

from dataclasses import asdict

from tqdm import tqdm

from histosynth.caution import Caution
from histosynth.metrics.classifier import Accuracy
from histosynth.report.charts import chart_files
from histosynth.report.sections.label_check.chart import QUESTIONS, TITLES, label_chart
from histosynth.report.sections.label_check.measure import LabelCheck, check_labels
from histosynth.report.sections.section import Section, SectionInputs


def label_check_section(inputs: SectionInputs) -> Section | None:
    """Return the section, measured on the patches of the overall results; None if there is a single label."""
    if len(inputs.plan.labels) < 2:
        return None
    with tqdm(total=3, desc="label classifiers", disable=not inputs.progress) as bar:
        check = check_labels(inputs.activations, advance=bar.update)
    measured = check.note is None
    return Section(
        key="label_check",
        facts={**asdict(check), "chance": check.chance if measured else None},
        context={"check": check, "titles": TITLES, "questions": QUESTIONS, "notes": notes(check)},
        sentences=[recognition_sentence(check)] if measured else [],
        cautions=cautions(check),
        charts=chart_files(label_chart(check), name="label_check") if measured else {},
    )


def recognition_sentence(check: LabelCheck) -> str:
    """Return the finding in a sentence; accuracies are means over labels."""
    synthetic, held_out = (check.accuracy[key] for key in ("real_on_synthetic", "real_on_held_out"))
    return (
        "A classifier trained on real patches recognizes the label of "
        f"{_format_accuracy(synthetic)} of the synthetic patches and of {_format_accuracy(held_out)} of the real "
        f"held-out patches; chance is {check.chance:.0%}."
    )


def _format_accuracy(accuracy: Accuracy) -> str:
    balanced = accuracy.balanced
    return f"{balanced.value:.0%} ({balanced.level:.0%} interval {balanced.low:.0%} to {balanced.high:.0%})"


def cautions(check: LabelCheck) -> list[Caution]:
    """Return a caution if the ceiling is no better than chance, where the check detects nothing."""
    if check.note or check.accuracy["real_on_held_out"].balanced.low > check.chance:
        return []
    return [
        Caution(
            "note",
            "These features do not tell the labels of real held-out patients better than chance: if the classifier "
            "does not recognize the label of synthetic patches, that is no evidence against them.",
        )
    ]


def notes(check: LabelCheck) -> list[str]:
    """Return what the intervals leave out, each reason once."""
    return sorted({accuracy.balanced.note for accuracy in check.accuracy.values() if accuracy.balanced.note})
