"""Options and output that `translate`, `interpolate` and `inpaint` share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from histosynth.cli.options import print_result

if TYPE_CHECKING:
    from histosynth.sampling.edit import EditOptions
    from histosynth.sampling.edited_store import EditResult
    from histosynth.sampling.precision import Precision
    from histosynth.sampling.sources import Selection

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class EditArguments:
    """Values of the shared options; click sets them one by one (`_store_value`)."""

    run: Path = Path()
    paths: tuple[Path, ...] = ()
    out: Path = Path()
    patches: tuple[str, ...] = ()
    label: str | None = None
    steps: int = 0
    guidance: float = 1.0
    batch: int | None = None
    precision: "Precision | None" = None
    split: str = "all"
    per_label: int = 1

    def selection(self, *, seed: int = 0) -> "Selection":
        """Return the selected patches; `seed` is that of a random choice."""
        from histosynth.sampling.sources import Selection

        return Selection(
            paths=self.paths,
            patches=self.patches,
            label=self.label,
            split=None if self.split == "all" else self.split,
            per_label=self.per_label,
            seed=seed,
        )

    def options(self, *, device: str | None, quiet: bool) -> "EditOptions":
        """Return the options of the library function."""
        from histosynth.sampling.edit import EditOptions

        return EditOptions(
            steps=self.steps,
            guidance=self.guidance,
            batch=self.batch,
            precision=self.precision,
            device=device,
            progress=not quiet,
        )


pass_edit_arguments = click.make_pass_decorator(EditArguments, ensure=True)
"""Decorator: pass the `EditArguments` as the first argument."""


def _store_value(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    setattr(ctx.ensure_object(EditArguments), str(parameter.name), value)


_PATH = click.Path(exists=True, path_type=Path)
_SHARED: dict[str, Any] = {"callback": _store_value, "expose_value": False}
_EDIT_OPTIONS = (
    click.argument("run", type=click.Path(path_type=Path), **_SHARED),
    click.argument("paths", metavar="STORE|IMAGE…", nargs=-1, required=True, type=_PATH, **_SHARED),
    click.option("--out", required=True, type=click.Path(path_type=Path), help="The store of edited patches.",
                 **_SHARED),
    click.option("--patch", "patches", multiple=True, metavar="ID", help="Edit this patch of STORE; repeatable.",
                 **_SHARED),
    click.option("--label", help="Label of the image files. Default: no label.", **_SHARED),
    click.option("--steps", default=40, show_default=True, type=click.IntRange(1), help="Steps from noise to image.",
                 **_SHARED),
    click.option("--guidance", default=1.0, show_default=True, type=click.FloatRange(0),
                 help="Classifier-free guidance toward the target label; 1 for none.", **_SHARED),
    click.option("--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
                 help="Precision of the network. Default: sample.precision of the run.", **_SHARED),
    click.option("--batch", type=click.IntRange(0), help="Images at a time. Default: sample.batch of the run.",
                 **_SHARED),
)  # fmt: skip
_RANDOM_CHOICE = (
    click.option("--split", default="held_out", show_default=True, type=click.Choice(["held_out", "train", "all"]),
                 help="Without --patch: choose patches of this split.", **_SHARED),
    click.option("--per-label", default=8, show_default=True, type=click.IntRange(1),
                 help="Without --patch: randomly chosen patches per label.", **_SHARED),
)  # fmt: skip


def edit_options(command: F) -> F:
    """Add RUN, the sources, `--out`, and the options from `--patch` to `--batch`."""
    for option in reversed(_EDIT_OPTIONS):
        command = option(command)
    return command


def random_choice_options(command: F) -> F:
    """Add `--split` and `--per-label`."""
    for option in reversed(_RANDOM_CHOICE):
        command = option(command)
    return command


def print_edits(result: "EditResult", *, as_json: bool) -> None:
    """Print the paths and the number of the edited patches."""
    facts = {"store": str(result.store), "sheet": str(result.sheet), "images": result.images}
    text = (
        f"{result.images} synthetic patches made from real ones ({result.generated} generated now)\n"
        f"store    {result.store}\nsheet    {result.sheet}"
    )
    print_result(facts | {"generated": result.generated}, text, as_json=as_json)
