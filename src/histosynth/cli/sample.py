"""`histosynth sample`: from a run to synthetic patches."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from histosynth.cli.options import device_option, json_option, print_result, quiet_option, settings_options
from histosynth.config import load_settings


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The sample store and its contact sheet.")
@click.option("--per-label", default=16, show_default=True, type=click.IntRange(1), help="Images per label.")
@click.option("--label", "labels", multiple=True, help="Only this label; repeatable. Default: all.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of the first image.")
@click.option("--sampler", help="ddpm, ddim, dpmpp_2m, dpmpp_2m_sde, heun. Default: sample.sampler.")
@click.option("--steps", type=click.IntRange(1), help="Steps from noise to image. Default: sample.steps.")
@click.option("--eta", type=click.FloatRange(0, 1), help="Noise that ddim adds back, 0 to 1. Default: sample.eta.")
@click.option(
    "--guidance", type=click.FloatRange(0), help="Classifier-free guidance, 1 for none. Default: sample.guidance."
)
@click.option(
    "--autoguidance",
    type=click.FloatRange(1),
    help="Guidance away from the run's early weights, 1 for none. Default: sample.autoguidance.",
)
@click.option("--classifier", type=click.Path(path_type=Path), help="Run or weights file of a guiding classifier.")
@click.option("--classifier-scale", type=click.FloatRange(0), help="Its strength. Default: sample.classifier_scale.")
@click.option("--no-mark", is_flag=True, help="Do not write into the images how they were made.")
@settings_options
@device_option
@quiet_option
@json_option
def command(
    run: Path,
    out: Path,
    per_label: int,
    labels: tuple[str, ...],
    seed: int,
    sampler: str | None,
    steps: int | None,
    eta: float | None,
    guidance: float | None,
    autoguidance: float | None,
    classifier: Path | None,
    classifier_scale: float | None,
    no_mark: bool,
    config: str | None,
    overrides: tuple[str, ...],
    device: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Generate synthetic patches from RUN (a directory, or one of its .safetensors files).

    Labels are balanced. Each image has its own seed, so it does not depend on the number of images or of processes
    (`torchrun`, `accelerate launch`). Rerun the command to resume it, or with a larger --per-label to add images. By
    default, the training settings are used. Each image states in its metadata that it is synthetic. A GAN generates
    images in one pass: sampler, steps and guidance do not apply to it, and are rejected.

    \b
      histosynth sample runs/lgg --out samples/lgg --per-label 500
      histosynth sample runs/lgg --out samples/wt --label IDHwt --sampler ddpm --steps 250 --set sample.spacing=schedule
      histosynth sample runs/lgg --out samples/sure --guidance 2 --set sample.guidance_high=3
    """
    values = {"sampler": sampler, "steps": steps, "eta": eta, "guidance": guidance}
    values |= {"autoguidance": autoguidance, "classifier_scale": classifier_scale}
    options = [f"sample.{key}={value}" for key, value in values.items() if value is not None]
    options += [f"sample.classifier={json.dumps(str(classifier))}"] if classifier else []
    from histosynth.sampling.generate import generate, training_settings

    base = load_settings(config) if config else training_settings(run)
    settings = load_settings(base, overrides=[*overrides, *options])
    result = generate(
        run, out=out, settings=settings.sample, per_label=per_label, seed=seed, labels=labels, device=device,
        progress=not quiet, mark=not no_mark,
    )  # fmt: skip
    facts = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(result).items()}
    text = (
        f"{result.images} synthetic patches of {', '.join(result.labels)} ({result.generated} generated now), "
        f"{result.evaluations} network evaluations each\n"
        f"store    {result.store}\nsheet    {result.sheet}\n"
        f"next     histosynth evaluate --real STORE --fake {result.store} --out REPORT"
    )
    print_result(facts, text, as_json=as_json)
