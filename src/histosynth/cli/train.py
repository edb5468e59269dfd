"""`histosynth train`: from a patch store to a trained model."""

from dataclasses import asdict
from pathlib import Path

import click

from histosynth.cli.options import device_option, json_option, quiet_option, settings_options, show
from histosynth.config import load_settings


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The run: weights, log, sample grids.")
@settings_options
@device_option
@quiet_option
@json_option
def command(
    store: Path,
    out: Path,
    config: str | None,
    overrides: tuple[str, ...],
    device: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train a genotype-conditional diffusion model on the training patients of STORE.

    Stops by itself after `train.images` images. Interrupted, the same command goes on from the last checkpoint. On the
    way the run collects sample grids (samples/), a log (stats.jsonl, tensorboard/), the averaged weights (weights/) and
    what resuming needs (state/).

    \b
      histosynth train STORE --out runs/lgg --config paper
      histosynth train STORE --out runs/try --config demo --set train.images=20000
      histosynth train STORE --out runs/lgg-classifier --config paper --set train.task=classifier
    """
    settings = load_settings(config, overrides=overrides)
    from histosynth.training.loop import train

    result = train(store, out=out, settings=settings, device=device, progress=not quiet)
    facts = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(result).items()}
    rate = f" at {result.images_per_second:.1f} a second" if result.images_per_second else ""
    following = f"histosynth sample {result.run} --out SAMPLES"
    if settings.train.task == "classifier":
        following = f"histosynth sample RUN --classifier {result.run} --out SAMPLES"
    text = (
        f"trained on {result.images} images{rate}, loss {result.loss:.4f}\n"
        f"run      {result.run}\nweights  {result.weights}\nnext     {following}"
    )
    show(facts, text, as_json=as_json)
