"""`histosynth study analyze`: could they tell?"""

from pathlib import Path

import click

from histosynth.cli.options import json_option, print_result, quiet_option
from histosynth.cli.study.options import database_option

_PATH = click.Path(path_type=Path)


@click.command("analyze", short_help="The report of a study: could they tell?")
@click.argument("study", type=_PATH, metavar="STUDY|CSV")
@click.option("--out", required=True, type=_PATH, metavar="DIR", help="The report; an older one is replaced.")
@click.option("--interim", is_flag=True, help="Although readers are still reading. It unblinds the study.")
@click.option("--margin", type=float, help="For a CSV: the equivalence margin that was declared.")
@click.option("--alpha", type=float, help="For a CSV: the level that was declared. Default: 0.05.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the bootstrap.")
@database_option
@quiet_option
@json_option
def command(
    study: Path, out: Path, interim: bool, margin: float | None, alpha: float | None, seed: int, database: str | None,
    quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Analyze the readings of STUDY, or of a CSV: study_report.html for people, study_report.json for machines.

    Equivalence to guessing within the declared margin; accuracy, sensitivity, specificity, d' and area under the ROC
    curve, of each reader and of all; confidence on real and synthetic; by label and by generator; agreement, time,
    learning; and the patches that convinced most and least. A CSV needs the columns reader, case, truth, said and
    confidence.

    \b
      histosynth study analyze study --out study_report
      histosynth study analyze readings.csv --margin 0.10 --out study_report
    """
    from histosynth.study import require

    require("statsmodels")
    from histosynth.study.analysis.schema import as_json as facts_of
    from histosynth.study.report.build import PAGE, analyze

    found = analyze(
        study, out=out, interim=interim, margin=margin, alpha=alpha, seed=seed, database=database, progress=not quiet
    )
    said = [*found.verdict, *(f"! {caution.text}" for caution in found.cautions)]
    print_result(facts_of(found), "\n".join([*said, f"report   {out / PAGE}"]), as_json=as_json)
