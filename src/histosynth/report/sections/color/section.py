"""The section on color: do synthetic patches have the colors of real tissue?"""

from dataclasses import asdict

from tqdm import tqdm

from histosynth.report.charts import chart_files
from histosynth.report.sections.color import chart as color_chart
from histosynth.report.sections.color.measure import ColorResults, ColorRow, measure_colors
from histosynth.report.sections.section import Section, SectionInputs

CLEAR_DRIFT = 2.0
"""Drift is reported above this multiple of the floor."""
VISIBLE_OD = 0.02
"""Smaller drift is never reported, however low the floor: two and a half of 255 gray levels at medium gray."""


def color_section(inputs: SectionInputs) -> Section:
    """Return the section, measured on the patches of the main results."""
    plan = inputs.plan
    total = sum(plan.n[k] for name in plan.sides for k in plan.labels if plan.usable(name, k))
    with tqdm(total=total, desc="colors", unit="img", disable=not inputs.progress) as bar:
        colors = measure_colors(plan, batch=inputs.settings.batch, advance=bar.update)
    return Section(
        key="color",
        facts=asdict(colors),
        context={"colors": colors, "chart": color_chart, "format_shift": format_shift},
        sentences=drift_sentences(colors),
        charts=chart_files(color_chart.color_chart(colors), name="color"),
    )


def drift_sentences(colors: ColorResults) -> list[str]:
    """Return a sentence if synthetic colors differ from real ones clearly more than training from held-out patients.

    It is about all patches; if these show no drift, there is one sentence per label that does.
    """
    if sentence := _drift_sentence(colors.overall, of=""):
        return [sentence]
    sentences = (_drift_sentence(row, of=f" of {label}") for label, row in colors.labels.items())
    return [sentence for sentence in sentences if sentence]


def _drift_sentence(row: ColorRow, *, of: str) -> str | None:
    held_out, train, floor = (row.pairs[key] for key in ("fake_vs_held_out", "fake_vs_train", "train_vs_held_out"))
    if not held_out or not train or not floor:
        return None
    if max(held_out.color_distance, train.color_distance) <= max(CLEAR_DRIFT * floor.color_distance, VISIBLE_OD):
        return None
    red, green, blue = (format_shift(value) for value in held_out.mean_shift)
    return (
        f"The colors of the synthetic patches{of} drift: the distance in optical density "
        f"is {held_out.color_distance:.2f} to held-out patients, {train.color_distance:.2f} to training patients, and "
        f"{floor.color_distance:.2f} between training and held-out patients (mean shift from held-out patients {red} "
        f"in red, {green} in green, {blue} in blue; positive is darker)."
    )


def format_shift(value: float) -> str:
    """Return a shift with its sign and two decimals, zero without a sign: +0.12, −0.03, 0.00."""
    text = f"{value:+.2f}"
    return "0.00" if float(text) == 0 else text.replace("-", "−")
