"""What `translate`, `interpolate` and `inpaint` have in common: which patches, and how the model is run."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from histosynth.cli.options import print_result

if TYPE_CHECKING:
    from histosynth.sampling.edited_store import EditResult

F = TypeVar("F", bound=Callable[..., Any])
_PATH = click.Path(exists=True, path_type=Path)
_OPTIONS = (
    click.argument("run", type=click.Path(path_type=Path)),
    click.argument("paths", metavar="STORE|IMAGE…", nargs=-1, required=True, type=_PATH),
    click.option("--out", required=True, type=click.Path(path_type=Path), help="The store of edited patches."),
    click.option("--patch", "patches", multiple=True, metavar="ID", help="This patch of STORE; repeatable."),
    click.option("--label", help="The label of the image files. Default: read without a label."),
    click.option("--steps", default=40, show_default=True, type=click.IntRange(1), help="Steps from noise to image."),
    click.option("--guidance", default=1.0, show_default=True, type=click.FloatRange(0),
                 help="Classifier-free guidance toward the label drawn, 1 for none."),
)  # fmt: skip
_DRAW = (
    click.option("--split", default="held_out", show_default=True, type=click.Choice(["held_out", "train", "all"]),
                 help="Where no --patch is named: patches of this split."),
    click.option("--per-label", default=8, show_default=True, type=click.IntRange(1),
                 help="Where no --patch is named: so many of each label, drawn at random."),
)  # fmt: skip


def edit_options(command: F) -> F:
    """Add RUN, the sources, `--out`, `--patch`, `--label`, `--steps` and `--guidance`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def draw_options(command: F) -> F:
    """Add `--split` and `--per-label`."""
    for option in reversed(_DRAW):
        command = option(command)
    return command


def show_edits(result: "EditResult", *, as_json: bool) -> None:
    """Print where the patches lie."""
    facts = {"store": str(result.store), "sheet": str(result.sheet), "images": result.images, "made": result.made}
    text = (
        f"{result.images} synthetic patches made from real ones ({result.made} made now)\n"
        f"store    {result.store}\nsheet    {result.sheet}"
    )
    print_result(facts, text, as_json=as_json)
