"""The section on color: do synthetic patches have the colors of real tissue?"""

from dataclasses import asdict

from tqdm import tqdm

from histosynth.report.charts import chart_files
from histosynth.report.sections.color import chart as color_chart
from histosynth.report.sections.color.measure import drift_sentences, format_shift, measure_colors
from histosynth.report.sections.section import Section, SectionInputs


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
