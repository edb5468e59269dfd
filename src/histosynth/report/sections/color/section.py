"""The section on color: do samples have the colors of real tissue?"""

from dataclasses import asdict

from tqdm import tqdm

from histosynth.report.charts import as_files
from histosynth.report.sections.color import chart as color_chart
from histosynth.report.sections.color.measure import drift, measure_colors, signed
from histosynth.report.sections.section import Material, Section


def color_section(material: Material) -> Section:
    """Colors of the same patches as in the main figures."""
    plan = material.plan
    total = sum(plan.n[k] for name in plan.sides for k in plan.labels if plan.usable(name, k))
    with tqdm(total=total, desc="colors", unit="img", disable=not material.progress) as bar:
        colors = measure_colors(plan, batch=material.settings.batch, advance=bar.update)
    return Section(
        key="color",
        facts=asdict(colors),
        shown={"colors": colors, "chart": color_chart, "signed": signed},
        sentences=drift(colors),
        figures=as_files(color_chart.color_chart(colors), name="color"),
    )
