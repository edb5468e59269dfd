"""`histosynth study analyze`: analyze the readings and write a report."""

from pathlib import Path

import click

from histosynth.cli.options import json_option, print_result, quiet_option
from histosynth.cli.study.options import database_option

_PATH = click.Path(path_type=Path)


@click.command("analyze", short_help="Analyze the readings and write a report.")
@click.argument("study", type=_PATH, metavar="STUDY|CSV")
@click.option(
    "--out", required=True, type=_PATH, metavar="DIR", help="Directory of the report; an existing report is replaced."
)
@click.option("--interim", is_flag=True, help="Analyze while readers are still reading. This unblinds the study.")
@click.option("--margin", type=float, help="For a CSV: the equivalence margin that was declared.")
@click.option("--area-margin", type=float, help="For a CSV: the declared margin of the area under the ROC curve.")
@click.option("--alpha", type=float, help="For a CSV: the significance level that was declared. Default: 0.05.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of the bootstrap.")
@database_option
@quiet_option
@json_option
def command(
    study: Path, out: Path, interim: bool, margin: float | None, area_margin: float | None, alpha: float | None,
    seed: int, database: str | None, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Analyze the readings of STUDY, or of a CSV: study_report.html for people, study_report.json for machines.

    The report tests equivalence to guessing within the declared margins of accuracy and of the area under the ROC
    curve. It gives accuracy, sensitivity, specificity, d', criterion and area, for each reader and for all; confidence
    on real and synthetic patches; results by label and by generator; agreement, time and learning; and the most and
    least convincing patches. A CSV needs the columns reader, case, truth, said and confidence.

    \b
      histosynth study analyze study --out study_report
      histosynth study analyze readings.csv --margin 0.10 --area-margin 0.14 --out study_report
    """
    from histosynth.study import require

    require("statsmodels")
    from histosynth.study.analysis.schema import as_json as facts_of
    from histosynth.study.report.build import PAGE, analyze

    report = analyze(
        study, out=out, interim=interim, margin=margin, area_margin=area_margin, alpha=alpha, seed=seed,
        database=database, progress=not quiet,
    )  # fmt: skip
    lines = [*report.verdict, *(f"! {caution.text}" for caution in report.cautions)]
    print_result(facts_of(report), "\n".join([*lines, f"report   {out / PAGE}"]), as_json=as_json)
