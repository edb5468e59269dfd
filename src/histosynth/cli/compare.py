"""`histosynth compare`: which model is nearer to real tissue, and can it be told?"""

from pathlib import Path

import click

from histosynth.cli.options import json_option, print_result


@click.command(short_help="Put models side by side, in the tables of a paper.")
@click.argument("reports", nargs=-1, required=True, metavar="REPORT...", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The comparison; an older one is replaced.")
@json_option
def command(reports: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Put the models of two or more reports side by side: IS, FID and sFID; precision and recall; each by genotype.

    Reports compare where the same extractor, real patches and number of patches were used; others are refused, with
    what to measure again. The best figure is marked, and said to be better only where intervals do not overlap.

    \b
      histosynth compare reports/unet reports/progan --out reports/both
    """
    from histosynth.report.compare.build import PAGE, as_text, compare
    from histosynth.report.compare.schema import ComparisonFacts

    found = compare(reports=reports, out=out)
    said = [*found["verdict"], *(f"! {caution['text']}" for caution in found["cautions"])]
    text = "\n".join([as_text(ComparisonFacts.model_validate(found), narrow=True), *said])
    print_result(found, f"{text}\n\ncomparison   {out / PAGE}", as_json=as_json)
