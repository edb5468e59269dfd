"""`histosynth patches`: from slides, outlines and labels to a patch store."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from histosynth.cli.options import echo, json_option, print_result, quiet_option, settings_options

if TYPE_CHECKING:
    from histosynth.patches.extract import ExtractionResult

_PATH = click.Path(path_type=Path)
_NAMED = 5


@click.command("patches", short_help="Make a patch store from slides, outlines and labels.")
@click.argument("slides", nargs=-1, required=True, type=_PATH, metavar="SLIDE_OR_FOLDER...")
@click.option("--out", required=True, type=_PATH, metavar="STORE", help="Directory of the patch store.")
@click.option(
    "--outlines",
    type=_PATH,
    metavar="DIR",
    help="Outlines of QuPath, ASAP, ImageScope, HALO or NDP.view, named like the slides. Default: all tissue.",
)
@click.option(
    "--tumor-class",
    multiple=True,
    metavar="NAME",
    help="Class of the outlines to use as tumor; repeatable. Default: Tumor.",
)
@click.option(
    "--exclude-class", multiple=True, metavar="NAME", help="Class of the outlines to exclude from it; repeatable."
)
@click.option(
    "--outline-origin",
    type=click.Choice(["auto", "slide", "bounds"]),
    metavar="WHERE",
    help="Origin of the outlines: the corner of the slide or of its scanned bounds. Default: auto, by the tool.",
)
@click.option("--labels", type=_PATH, metavar="CSV", help="Labels by slide_id or patient_id. Default: no labels.")
@click.option(
    "--split-table", type=_PATH, metavar="CSV", help="A split by patient_id or slide_id, instead of the drawn one."
)
@click.option(
    "--stain-target", metavar="IMAGE|STORE", help="Normalize to the stains of an image or store. Default: built in."
)
@click.option(
    "--fallback",
    metavar="METHOD",
    help="Stain method for slides that cannot be fitted, such as reinhard. Default: none.",
)
@click.option("--dask", metavar="ADDRESS", help="Scheduler of a Dask cluster (tcp://host:8786) to run on.")
@click.option("--mpp", type=float, metavar="MICRONS", help="Microns per pixel, for slides without a stated value.")
@click.option("--mpp-table", type=_PATH, metavar="CSV", help="Table slide_id,mpp; takes precedence over the slides.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Processes. Default: one per core.")
@click.option("--skip-bad-slides", is_flag=True, help="Skip unusable slides; the manifest lists them.")
@click.option("--preview", is_flag=True, help="Draw patches and rejected regions: STORE/preview/index.html.")
@settings_options
@quiet_option
@json_option
def command(
    slides: tuple[Path, ...],
    out: Path,
    outlines: Path | None,
    tumor_class: tuple[str, ...],
    exclude_class: tuple[str, ...],
    outline_origin: str | None,
    labels: Path | None,
    split_table: Path | None,
    stain_target: str | None,
    fallback: str | None,
    dask: str | None,
    mpp: float | None,
    mpp_table: Path | None,
    workers: int | None,
    skip_bad_slides: bool,
    preview: bool,
    config: str | None,
    overrides: tuple[str, ...],
    quiet: bool,
    as_json: bool,
) -> None:
    """Extract patches from slides: candidate regions inside the outlines, a seeded draw, quality control, stain
    normalization and a split by patient.

    Rerun the command to resume after an interruption.

    \b
      histosynth patches slides/ --outlines outlines/ --labels labels.csv --out store
      histosynth patches region.png --mpp 0.5 --out store --set patches.cap=20
    """
    from histosynth.config import load_settings
    from histosynth.patches.extract import extract

    options = {
        "tumor_classes": tumor_class,
        "exclude_classes": exclude_class,
        "outline_origin": outline_origin,
        "stain_target": stain_target,
        "stain_fallback": fallback,
    }
    result = extract(
        slides,
        out=out,
        settings=load_settings(config, overrides=[*overrides, *_as_overrides(options)]).patches,
        outlines=outlines,
        labels=labels,
        split_table=split_table,
        dask=dask,
        mpp=mpp,
        mpp_table=mpp_table,
        workers=workers,
        skip_bad_slides=skip_bad_slides,
        preview=preview,
        progress=not quiet,
    )
    for note in _notes(result):
        echo(f"histosynth: {note}", err=True)
    page = str(result.preview) if result.preview else None
    print_result({**asdict(result), "store": str(out), "preview": page}, _table(result), as_json=as_json)


def _as_overrides(options: Mapping[str, Any]) -> list[str]:
    """Return options that are settings as overrides; JSON strings and lists are valid TOML."""
    return [f"patches.{key}={json.dumps(value, ensure_ascii=False)}" for key, value in options.items() if value]


def _notes(result: "ExtractionResult") -> Iterator[str]:
    """Yield what the user must know about the result."""
    if result.slides_resumed:
        yield f"{result.slides_resumed} slide(s) were complete already"
    if result.slides_remade:
        yield f"{result.slides_remade} slide(s) were extracted again because their settings or inputs have changed"
    if result.slides_without_patch:
        yield f"{len(result.slides_without_patch)} slide(s) gave no patch: {', '.join(result.slides_without_patch)}"
    if result.slides_skipped:
        yield f"{len(result.slides_skipped)} slide(s) were skipped:"
    for slide_id, reason in result.slides_skipped.items():
        yield f"  {slide_id}: {reason}"
    if unused := result.labels_without_slide:
        more = ", …" if len(unused) > _NAMED else ""
        yield f"{len(unused)} label(s) without a slide: {', '.join(unused[:_NAMED])}{more} (the manifest lists all)"
    if unknown := result.split_without_slide:
        more = ", …" if len(unknown) > _NAMED else ""
        yield f"{len(unknown)} name(s) in the split table without a slide: {', '.join(unknown[:_NAMED])}{more}"
    if result.genotype_aliases:
        yield f"labels renamed: {', '.join(f'{a} to {b}' for a, b in result.genotype_aliases.items())}"


def _table(result: "ExtractionResult") -> str:
    """Return the patches by label and split, the rejected candidate regions by reason, and the next command."""
    width = max(len(label) for label in ("label", *result.patches_by_label))
    rejected = ", ".join(f"{count} {reason}" for reason, count in result.rejected.items() if count)
    rows = [
        f"{label:<{width}}  {split['train']:>7}  {split['held_out']:>8}"
        for label, split in result.patches_by_label.items()
    ]
    return "\n".join(
        [
            f"{'label':<{width}}  {'train':>7}  {'held out':>8}",
            *rows,
            f"{result.patches} patches of {result.slides_done} slide(s) in {result.store}; "
            f"left out: {rejected or 'nothing'}",
            *([f"preview: {result.preview}"] if result.preview else []),
            f"next: histosynth train {result.store} --out RUN",
        ]
    )
