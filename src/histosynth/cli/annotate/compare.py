"""`histosynth annotate compare`: the agreement of two annotators."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from histosynth.cli.options import json_option, print_result, quiet_option, settings_options

if TYPE_CHECKING:
    from histosynth.annotate.agreement import Agreement
    from histosynth.annotate.compare import OutlineComparison

_PATH = click.Path(path_type=Path)


@click.command("compare", short_help="Agreement of two annotators, per slide and pooled.")
@click.argument("a", type=_PATH, metavar="A")
@click.argument("b", type=_PATH, metavar="B")
@click.option(
    "--slides", multiple=True, required=True, type=_PATH, metavar="SLIDE_OR_FOLDER", help="The slides; repeatable."
)
@click.option("--out", type=_PATH, metavar="DIR", help="Write a page with both outlines on each slide, and its JSON.")
@click.option(
    "--tumor-class",
    multiple=True,
    metavar="NAME",
    help="Class of the outlines to compare; repeatable. Default: Tumor.",
)
@click.option("--mpp", type=float, metavar="MICRONS", help="Microns per pixel, for slides without a stated value.")
@settings_options
@quiet_option
@json_option
def command(
    a: Path,
    b: Path,
    slides: tuple[Path, ...],
    out: Path | None,
    tumor_class: tuple[str, ...],
    mpp: float | None,
    config: str | None,
    overrides: tuple[str, ...],
    quiet: bool,
    as_json: bool,
) -> None:
    """Measure how far two annotators agree on the tumor: Dice, IoU, the distance of the boundaries in microns, and
    Cohen's kappa of the squares of the patch grid. A and B are folders of outlines in any format that `patches` reads,
    named like the slides. The settings are those of `patches`: classes, size of a region, least share of tissue and
    tumor.

    \b
      histosynth annotate compare outlines/anna outlines/ben --slides slides/ --out agreement
    """
    from histosynth.annotate.compare import compare_annotators
    from histosynth.config import load_settings

    classes = [f"patches.tumor_classes={json.dumps(tumor_class, ensure_ascii=False)}"] if tumor_class else []
    settings = load_settings(config, overrides=[*overrides, *classes]).patches
    result = compare_annotators(a, b, slides=slides, settings=settings, mpp=mpp, out=out, progress=not quiet)
    print_result(result.to_dict(), _table(result), as_json=as_json)


def _table(result: "OutlineComparison") -> str:
    width = max(len("all slides"), *(len(slide.slide_id) for slide in result.slides))
    head = f"{'':<{width}}   Dice    IoU  boundary  95 %, um   kappa  squares"
    lines = [head, _row("all slides", result.pooled, width)]
    lines += [_row(slide.slide_id, slide.agreement, width) for slide in result.slides if slide.agreement]
    lines += [f"not compared: {slide.slide_id}, {slide.reason}" for slide in result.slides if slide.reason]
    if result.page:
        lines.append(f"\npage   {result.page}")
    return "\n".join(lines)


def _row(name: str, each: "Agreement", width: int) -> str:
    kappa = "–" if each.kappa is None else f"{each.kappa:.3f}"
    return (
        f"{name:<{width}}  {each.dice:.3f}  {each.iou:.3f}  {each.boundary_mean_um:8.1f}  {each.boundary_95_um:8.1f}  "
        f"{kappa:>6}  {each.squares:7}"
    )
