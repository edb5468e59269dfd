"""`histosynth export`: a store in the formats of other programs."""

from dataclasses import asdict
from pathlib import Path

import click

from histosynth.cli.options import json_option, print_result, quiet_option

_PATH = click.Path(path_type=Path)
_NEXT = {
    "png": "one folder per label, and labels.csv; for torch-fidelity add --samples-find-deep",
    "npz": "images.npz holds arr_0 (images) and arr_1 (label numbers), as the ADM evaluator reads them",
    "webdataset": "shards of .png, .cls and .json",
}


@click.command("export", short_help="Write a store as PNG folders, .npz or WebDataset.")
@click.argument("store", type=_PATH, metavar="STORE")
@click.option("--out", required=True, type=_PATH, metavar="DIR", help="Directory of the export.")
@click.option(
    "--to", "format", required=True, type=click.Choice(["png", "npz", "webdataset"]), help="Format of the export."
)
@click.option("--split", type=click.Choice(["train", "held_out"]), help="Only this split. Default: all patches.")
@click.option("--label", "labels", multiple=True, help="Only this label; repeatable. Default: all.")
@quiet_option
@json_option
def command(
    store: Path, out: Path, format: str, split: str | None, labels: tuple[str, ...], quiet: bool, as_json: bool
) -> None:
    """Write the patches of STORE as PNG folders, as an .npz for the ADM evaluator, or as a WebDataset.

    Synthetic patches stay marked as synthetic: in each PNG, in each JSON file of a WebDataset, and in export.json,
    which also holds the number of each label.

    \b
      histosynth export store --out png --to png --split held_out
      histosynth export samples --out adm --to npz
    """
    from histosynth.convert.export import export

    result = export(store, out=out, format=format, split=split, labels=labels, progress=not quiet)
    made = "synthetic" if result.synthetic == result.patches else f"{result.synthetic} of them synthetic"
    numbers = ", ".join(f"{number} {label}" for label, number in result.labels.items()) or "none"
    text = (
        f"{result.patches} patches ({made if result.synthetic else 'real'}) in {out}"
        f"{'' if result.written else ', which existed already'}\nlabels   {numbers}\nformat   {_NEXT[format]}"
    )
    print_result({**asdict(result), "directory": str(out)}, text, as_json=as_json)
