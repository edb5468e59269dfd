"""`histosynth study create`: from a patch store and samples to a study that readers can be invited to."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from histosynth.cli.options import json_option, print_result, quiet_option
from histosynth.cli.study.options import database_option
from histosynth.config import StudySettings, study_settings
from histosynth.study import require

_PATH = click.Path(path_type=Path)
_DEFAULTS = StudySettings()


def _setting(name: str, text: str, kind: type = int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option of a setting."""
    flag = f"--{name.replace('_', '-')}"
    default = getattr(_DEFAULTS, name)
    return click.option(flag, type=kind, default=default, show_default=default != "", help=text)


@click.command("create", short_help="Choose and blind cases; print the readers' links.")
@click.option("--real", required=True, type=_PATH, metavar="STORE", help="Patch store with held-out patients.")
@click.option(
    "--fake",
    "fakes",
    required=True,
    multiple=True,
    metavar="[NAME=]SAMPLES",
    help="Samples; repeat for several models.",
)
@click.option("--out", required=True, type=_PATH, metavar="STUDY", help="Directory of the study; never overwritten.")
@_setting("cases", "Cases that count, half of them real.")
@_setting("readers", "Readers; each reads all cases.")
@_setting("practice", "Practice cases before, with the truth shown after each.")
@_setting("repeats", "Cases that each reader is shown twice, far apart.")
@click.option("--seed", type=int, help="Of the choice and the orders. Default: drawn, and noted in study.toml.")
@_setting("title", "What readers see above the page.", str)
@_setting("contact", "Whom readers may ask.", str)
@_setting("margin", "Accuracy within 0.5 ± margin counts as guessing.", float)
@_setting("alpha", "Level of the tests.", float)
@_setting("jpeg_history", "JPEG quality that all pictures go through; 0: none.")
@_setting("normalize", "Stain normalizer that all pictures go through.", str)
@_setting("valid_days", "Days until links expire.")
@_setting("base_url", "Address under which readers reach the page.", str)
@click.option("--allow-training-patients", is_flag=True, help="Real cases of all patients. Say so in the paper.")
@database_option
@quiet_option
@json_option
def command(
    real: Path,
    fakes: tuple[str, ...],
    out: Path,
    seed: int | None,
    database: str | None,
    quiet: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Make a study of STORE's held-out patches and SAMPLES, blinded: same size, same encoding, opaque names.

    Cases are balanced over genotypes and models, and spread over patients. Links are printed here and never again; the
    database keeps only their hashes. STUDY says which case is real: keep it, and the seed, from readers.

    \b
      histosynth study create --real stores/lgg --fake samples/lgg --cases 120 --readers 2 --practice 6 --out study
      histosynth study create --real stores/lgg --fake unet=samples/a --fake gan=samples/b --jpeg-history 80 --out study
    """
    require("sqlalchemy")
    from histosynth.study.design.create import create

    settings["seed"] = secrets.randbelow(1 << 32) if seed is None else seed  # readers could guess a usual one
    made = create(
        real, [_named(fake) for fake in fakes], out=out, settings=study_settings(settings), database=database,
        progress=not quiet,
    )  # fmt: skip
    facts = {"study": str(made.study), "links": made.links, "warnings": made.manifest["warnings"]}
    counted = "\n".join(
        f"{cell['part']:9}{cell['cases']:5}  {cell['source']}{', ' + cell['label'] if cell['label'] else ''}"
        for cell in made.manifest["cases"]
    )
    warned = "".join(f"! {text}\n" for text in made.manifest["warnings"])
    links = "\n".join(f"{name:12} {link}" for name, link in made.links.items())
    text = f"{counted}\n{warned}study    {made.study}\nlinks    (told once; keep them)\n{links}\n"
    print_result(facts, f"{text}next     histosynth study serve {made.study}", as_json=as_json)


def _named(fake: str) -> tuple[str | None, Path]:
    """The name of a generator, None if not given, and the path of its samples."""
    name, equals, path = fake.partition("=")
    return (name, Path(path)) if equals and not Path(fake).exists() else (None, Path(fake))
