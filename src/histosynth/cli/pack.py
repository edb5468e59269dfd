"""`histosynth pack`: from a folder of tiles to a patch store."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from histosynth.cli.options import echo, json_option, print_result, quiet_option, settings_options
from histosynth.errors import HistosynthError

if TYPE_CHECKING:
    from histosynth.convert.pack import PackResult

_PATH = click.Path(path_type=Path)
_NAMED = 5
_KNOWN = tuple(f"patches.{key}" for key in ("held_out", "held_out_patients", "folds", "fold", "seed"))


@click.command("pack", short_help="Make a patch store from a folder of tiles.")
@click.argument("folder", type=_PATH, metavar="FOLDER")
@click.option("--out", required=True, type=_PATH, metavar="STORE", help="Directory of the patch store.")
@click.option(
    "--labels",
    type=_PATH,
    metavar="CSV",
    help="Table of file and label, optionally patient (or group) and split. Default: one subfolder per class.",
)
@click.option("--mpp", type=float, metavar="MICRONS", help="Microns per pixel, for tiles without a stated value.")
@click.option("--size", type=click.IntRange(8), metavar="PX", help="Side of a patch. Default: the side of the tiles.")
@click.option("--crop", type=click.IntRange(8), metavar="PX", help="Cut squares of this side from each tile first.")
@click.option("--synthetic", is_flag=True, help="A generative model made the tiles; name it with --source.")
@click.option("--source", metavar="NAME", help="Name of the model that made the tiles, with --synthetic.")
@click.option("--skip-bad-tiles", is_flag=True, help="Skip unusable tiles; the manifest lists them.")
@settings_options
@quiet_option
@json_option
def command(
    folder: Path,
    out: Path,
    labels: Path | None,
    mpp: float | None,
    size: int | None,
    crop: int | None,
    synthetic: bool,
    source: str | None,
    skip_bad_tiles: bool,
    config: str | None,
    overrides: tuple[str, ...],
    quiet: bool,
    as_json: bool,
) -> None:
    """Make a patch store from PNG, JPEG or TIFF tiles: one subfolder per class, or a table with --labels.

    Tiles of another generative model become a sample store with --synthetic --source NAME, for `evaluate` and `study`.
    Tiles that histosynth exported are recognized by their marks.

    The settings held_out, held_out_patients, folds, fold and seed of [patches] apply. Rerun the command to resume
    after an interruption.

    \b
      histosynth pack tiles/ --out store --mpp 0.5
      histosynth pack images/ --labels labels.csv --out store --crop 256 --size 64 --set patches.held_out=0.3
      histosynth pack samples/ --out samples_store --mpp 0.5 --synthetic --source StyleGAN3
    """
    from histosynth.config import load_settings
    from histosynth.convert.pack import pack

    for override in overrides:
        key = override.partition("=")[0].strip()
        if key.startswith("patches.") and key not in _KNOWN:
            raise HistosynthError(f"--set {key} does not apply to pack, which uses {', '.join(_KNOWN)}; remove it")
    if synthetic != (source is not None):
        raise HistosynthError(
            "--synthetic needs the name of the generator; add --source NAME" if synthetic
            else f"--source {source} names a generator; add --synthetic if it made the tiles"
        )  # fmt: skip
    result = pack(
        folder,
        out=out,
        settings=load_settings(config, overrides=overrides).patches,
        labels=labels,
        mpp=mpp,
        size_px=size,
        crop_px=crop,
        generator=source,
        skip_bad_tiles=skip_bad_tiles,
        progress=not quiet,
    )
    for note in _notes(result):
        echo(f"histosynth: {note}", err=True)
    print_result({**asdict(result), "store": str(out)}, _table(result), as_json=as_json)


def _notes(result: "PackResult") -> Iterator[str]:
    """Yield what the user must know about the result."""
    if result.parts_resumed:
        yield f"{result.parts_resumed} part(s) were complete already"
    if result.parts_remade:
        yield f"{result.parts_remade} part(s) were written again because their tiles or options have changed"
    if result.tiles_without_patient:
        yield (
            f"CAUTION: {result.tiles_without_patient} tile(s) have no patient, and each counts as a separate patient: "
            "tiles of one patient may be on both sides of the split; name the patients with --labels CSV"
        )
    if not result.mpp:
        yield "the tiles have no microns-per-pixel value; pass --mpp if you know it"
    elif len(result.mpp) > 1:
        scales = ", ".join(f"{mpp:g}" for mpp in result.mpp)
        yield f"the tiles have {len(result.mpp)} different scales: {scales} microns per pixel"
    if result.tiles_skipped:
        yield f"{len(result.tiles_skipped)} tile(s) were skipped (the manifest lists all):"
    for name in [*result.tiles_skipped][:_NAMED]:
        yield f"  {name}: {result.tiles_skipped[name]}"
    for what, names in (
        ("tile(s) without a label", result.tiles_unlabeled),
        ("label(s) without a tile", result.labels_without_tile),
    ):
        if names:
            more = ", …" if len(names) > _NAMED else ""
            yield f"{len(names)} {what}: {', '.join(names[:_NAMED])}{more} (the manifest lists all)"
    if result.other_files:
        yield f"{result.other_files} file(s) of other kinds were ignored"


def _table(result: "PackResult") -> str:
    width = max(len(label) for label in ("label", *result.patches_by_label))
    if any("null" in split for split in result.patches_by_label.values()):
        rows = [f"{'label':<{width}}  synthetic"]
        rows += [f"{label:<{width}}  {split['null']:>9}" for label, split in result.patches_by_label.items()]
        following = f"histosynth evaluate --real STORE --fake {result.store} --out REPORT"
    else:
        rows = [f"{'label':<{width}}  {'train':>7}  {'held out':>8}"]
        rows += [
            f"{label:<{width}}  {split['train']:>7}  {split['held_out']:>8}"
            for label, split in result.patches_by_label.items()
        ]
        following = f"histosynth train {result.store} --out RUN"
    summary = f"{result.patches} patches of {result.tiles} tile(s) and {result.patients} patient(s) in {result.store}"
    return "\n".join([*rows, summary, f"next: {following}"])
