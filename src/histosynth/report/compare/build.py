"""Build a comparison from reports: read, check, tabulate, draw, and put the directory in place once it is complete.

`OUT/compare.html` (for people, self-contained), `OUT/compare.json` (the same results for machines), `OUT/compare.md`
(the tables, to paste) and `OUT/figures/` (a chart as PNG and SVG, the patches side by side as PNG).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from histosynth.report.charts import chart_files
from histosynth.report.compare.charts import contact_sheet, intervals_chart, shown_sides
from histosynth.report.compare.page import render
from histosynth.report.compare.record import record
from histosynth.report.compare.reports import read_reports
from histosynth.report.compare.schema import FACTS, KIND, ComparisonFacts
from histosynth.report.compare.tables import as_markdown, legend, tables
from histosynth.report.compare.wording import alarmed, cautions, verdict
from histosynth.report.directory import check_output, replace_directory
from histosynth.rundir import write_json, write_text

PAGE = "compare.html"
TABLES = "compare.md"


def compare(*, reports: Sequence[Path], out: Path, stores: Sequence[Path] = ()) -> dict[str, Any]:
    """Put the models of these reports side by side, in this order, and write the comparison to `out`.

    Args:
        reports: two or more directories that `evaluate` wrote, of the same real patches and features, at the same n.
        out: the comparison's directory: absent, empty, or an older comparison.
        stores: directories whose stores may be opened to show patches, beside those inside a report's own directory.

    Returns:
        The content of `compare.json`.

    Raises:
        HistosynthError: a report cannot be read, the reports are not comparable, or `out` holds something else.
    """
    # Read and check.
    models = read_reports(reports)
    check_output(out, facts=FACTS, kind=KIND)

    # Compare.
    comparison = record(models)
    shown, missing = shown_sides(models, reference=comparison.reference, stores=stores)
    comparison = comparison.model_copy(
        update={
            "verdict": verdict(comparison, alarmed=alarmed(models)),
            "cautions": cautions(models, not_shown=missing),
        }
    )
    count = models[0].facts.settings.grid
    content = comparison.model_dump(mode="json")
    ComparisonFacts.model_validate(content)

    # Write charts, tables, page and record.
    with replace_directory(out.resolve()) as directory:
        figures = directory / "figures"
        figures.mkdir()
        for name, chart in chart_files(intervals_chart(comparison), name="intervals").items():
            (figures / name).write_bytes(chart)
        for label in comparison.labels:
            if any(len(s.side.rows[label]) for s in shown):
                sheet = figures / f"patches-{quote(label, safe=' ')}.png"
                sheet.write_bytes(contact_sheet(shown, label, count=count))
        write_text(directory / TABLES, as_text(comparison))
        write_text(directory / PAGE, render(comparison, shown=shown, count=count))
        write_json(directory / FACTS, content)
    return content


def as_text(comparison: ComparisonFacts, *, narrow: bool = False) -> str:
    """Return the tables in Markdown, each under its title, and the legend of their symbols.

    `narrow` leaves the intervals out of the widest table, for a terminal.
    """
    *first, last = tables(comparison)
    parts = [f"{table.title}\n\n{as_markdown(table)}" for table in first]
    parts.append(f"{last.title}\n\n{as_markdown(last, intervals=not narrow)}")
    return "\n\n".join([*parts, legend(comparison, place="In brackets")]) + "\n"
