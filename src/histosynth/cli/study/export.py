"""`histosynth study export`: write the readings for other programs."""

from pathlib import Path

import click

from histosynth.cli.options import json_option, print_result
from histosynth.cli.study.options import database_option

_PATH = click.Path(path_type=Path)


@click.command("export", short_help="Write the readings as CSV, Parquet or iMRMC input.")
@click.argument("study", type=_PATH, metavar="STUDY|CSV")
@click.option("--out", required=True, type=_PATH, metavar="FILE", help="File to write; an existing file is replaced.")
@click.option(
    "--to",
    "file_format",
    type=click.Choice(["csv", "parquet", "imrmc"]),
    help="Format. Default: by the ending of FILE.",
)
@click.option("--interim", is_flag=True, help="Export while readers are still reading. This unblinds the study.")
@database_option
@json_option
def command(
    study: Path, out: Path, file_format: str | None, interim: bool, database: str | None, as_json: bool
) -> None:
    """Write every reading of STUDY with its truth: reader, case, truth, answer, confidence and time.

    `csv` and `parquet` contain all columns, and `study analyze` accepts the CSV. `imrmc` is the input of iMRMC (FDA)
    for other multi-reader multi-case analyses: 1 is synthetic, the score is signed confidence, and a modality is a
    generator with the real cases.

    \b
      histosynth study export study --out readings.csv
      histosynth study export study --out readings.imrmc
    """
    from histosynth.study.analysis.export import FORMATS, export, format_of
    from histosynth.study.analysis.unblind import unblind

    to = FORMATS[file_format] if file_format else format_of(out)
    readings = unblind(study, interim=interim, database=database)
    export(readings, out, file_format=to)
    facts = {"file": str(out), "format": to, "readings": len(readings.readings), "interim": bool(readings.missing)}
    print_result(facts, f"{len(readings.readings)} readings in {out}", as_json=as_json)
