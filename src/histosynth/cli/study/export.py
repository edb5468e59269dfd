"""`histosynth study export`: the readings for other programs."""

from pathlib import Path

import click

from histosynth.cli.options import json_option, print_result
from histosynth.cli.study.options import database_option

_PATH = click.Path(path_type=Path)


@click.command("export", short_help="Readings as CSV, Parquet, or input of iMRMC.")
@click.argument("study", type=_PATH, metavar="STUDY|CSV")
@click.option("--out", required=True, type=_PATH, metavar="FILE", help="The file to write; an older one is replaced.")
@click.option("--to", "form", type=click.Choice(["csv", "parquet", "imrmc"]), help="The form. Default: by the name.")
@click.option("--interim", is_flag=True, help="Although readers are still reading. It unblinds the study.")
@database_option
@json_option
def command(study: Path, out: Path, form: str | None, interim: bool, database: str | None, as_json: bool) -> None:
    """Write every reading of STUDY with its truth: who read what, what it was, what was said, how surely, how long.

    `csv` and `parquet` hold all columns, and `study analyze` reads the CSV again. `imrmc` is the input of iMRMC (FDA),
    for other analyses of many readers and cases: 1 is synthetic, the score is signed confidence, a modality is a
    generator with the real cases.

    \b
      histosynth study export study --out readings.csv
      histosynth study export study --out readings.imrmc
    """
    from histosynth.study.analysis.export import FORMATS, export, format_of
    from histosynth.study.analysis.unblind import unblind

    to = FORMATS[form] if form else format_of(out)
    found = unblind(study, interim=interim, database=database)
    export(found, out, form=to)
    facts = {"file": str(out), "form": to, "readings": len(found.readings), "interim": bool(found.missing)}
    print_result(facts, f"{len(found.readings)} readings in {out}", as_json=as_json)
