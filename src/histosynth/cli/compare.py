"""`histosynth compare`: put models side by side, and say which of them intervals distinguish."""

from pathlib import Path

import click

from histosynth.cli.options import json_option, print_result


@click.command(short_help="Put models side by side, in the tables of a paper.")
@click.argument("reports", nargs=-1, required=True, metavar="REPORT...", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The comparison; an older one is replaced.")
@click.option(
    "--stores",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Show patches of stores inside this folder, too, if a report names them. May be repeated.",
)
@json_option
def command(reports: tuple[Path, ...], out: Path, stores: tuple[Path, ...], as_json: bool) -> None:
    """Put the models of two or more reports side by side: IS, FID and sFID; precision and recall; all results by label.

    Reports are comparable if they used the same extractor, real patches and number of patches; others are rejected,
    with what to measure again. The best result is marked. A model is called better only if intervals do not overlap.
    Patches are shown from stores inside the directory of their report, or inside a folder that --stores names.

    \b
      histosynth compare reports/unet reports/progan --out reports/both --stores .
    """
    from histosynth.report.compare.build import PAGE, as_text, compare
    from histosynth.report.compare.schema import ComparisonFacts

    comparison = compare(reports=reports, out=out, stores=stores)
    tables = as_text(ComparisonFacts.model_validate(comparison), narrow=True)
    cautions = [f"! {caution['text']}" for caution in comparison["cautions"]]
    text = "\n".join([tables, *comparison["verdict"], *cautions])
    print_result(comparison, f"{text}\n\ncomparison   {out / PAGE}", as_json=as_json)
