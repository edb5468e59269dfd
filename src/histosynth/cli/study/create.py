"""`histosynth study create`: create a study from a patch store and samples, and print the readers' links."""

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
    """Return the option of a setting."""
    flag = f"--{name.replace('_', '-')}"
    default = getattr(_DEFAULTS, name)
    return click.option(flag, type=kind, default=default, show_default=default != "", help=text)


@click.command("create", short_help="Select and blind cases; print the readers' links.")
@click.option("--real", required=True, type=_PATH, metavar="STORE", help="Patch store with held-out patients.")
@click.option(
    "--fake",
    "fakes",
    required=True,
    multiple=True,
    metavar="[NAME=]SAMPLES",
    help="Sample store; repeat for several models.",
)
@click.option("--out", required=True, type=_PATH, metavar="STUDY", help="Directory of the study; never overwritten.")
@_setting("cases", "Main cases, half of them real.")
@_setting("readers", "Number of readers; each reads all cases.")
@_setting("practice", "Practice cases before the main cases, with the truth shown after each.")
@_setting("repeats", "Cases that each reader sees twice, far apart.")
@click.option("--seed", type=int, help="Seed of the selection and the orders. Default: random, recorded in study.toml.")
@_setting("title", "Title of the readers' page.", str)
@_setting("contact", "Contact for readers' questions.", str)
@_setting("margin", "Accuracy within 0.5 ± margin counts as guessing.", float)
@_setting("area_margin", "Area under the ROC curve within 0.5 ± area margin counts as guessing.", float)
@_setting("alpha", "Significance level of the tests.", float)
@click.option(
    "--random-crop/--no-random-crop",
    default=_DEFAULTS.random_crop,
    show_default=True,
    help="Crop all pictures by 8 px at a random offset, which hides the grid of an earlier JPEG.",
)
@_setting("jpeg_history", "JPEG quality that all pictures go through after the crop; 0: none.")
@_setting("normalize", "Stain normalizer that all pictures go through.", str)
@_setting("valid_days", "Days until links expire.")
@_setting("base_url", "Address at which readers reach the page.", str)
@click.option(
    "--allow-training-patients", is_flag=True, help="Select real cases from all patients. Report this in the paper."
)
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
    """Create a blinded study from STORE's held-out patches and SAMPLES: same size, same encoding, opaque names.

    A small program then tries to tell real from synthetic pictures by traces in their pixels; the output, the manifest
    and the report state how well it does (0.5 is guessing).

    Cases are balanced over genotypes and models, and spread over patients. Links are printed only once; the database
    stores only their hashes. STUDY reveals which cases are real: keep it, and the seed, away from readers.

    \b
      histosynth study create --real stores/lgg --fake samples/lgg --cases 120 --readers 2 --practice 6 --out study
      histosynth study create --real stores/lgg --fake unet=samples/a --fake gan=samples/b --out study
    """
    require("sqlalchemy")
    from histosynth.study.design.create import create

    settings["seed"] = secrets.randbelow(1 << 32) if seed is None else seed  # readers could guess a common seed
    created = create(
        real, [_name_and_path(fake) for fake in fakes], out=out, settings=study_settings(settings), database=database,
        progress=not quiet,
    )  # fmt: skip
    facts = {"study": str(created.study), "links": created.links, "warnings": created.manifest["warnings"]}
    case_counts = "\n".join(
        f"{cell['part']:9}{cell['cases']:5}  {cell['source']}{', ' + cell['label'] if cell['label'] else ''}"
        for cell in created.manifest["cases"]
    )
    warnings = "".join(f"! {text}\n" for text in created.manifest["warnings"])
    links = "\n".join(f"{name:12} {link}" for name, link in created.links.items())
    pixels = created.manifest["pixel_auc"]
    program = f"pixels   a program tells real from synthetic with AUC {pixels['value']:.2f}\n" if pixels else ""
    text = (
        f"{case_counts}\n{warnings}{program}study    {created.study}\n"
        f"links    (shown only once; store them safely)\n{links}\n"
    )
    print_result(facts, f"{text}next     histosynth study serve {created.study}", as_json=as_json)


def _name_and_path(fake: str) -> tuple[str | None, Path]:
    """Return the name of a generator, None if not given, and the path of its samples."""
    name, equals, path = fake.partition("=")
    return (name, Path(path)) if equals and not Path(fake).exists() else (None, Path(fake))
