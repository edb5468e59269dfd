"""`histosynth train`: from a patch store to a trained model."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from histosynth.cli.options import device_option, json_option, print_result, quiet_option, settings_options
from histosynth.config import Settings, load_settings

if TYPE_CHECKING:
    from histosynth.training.periodic_metric import PeriodicMetric


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
    """Train a genotype-conditional diffusion model, or a GAN, on the training patients of STORE.

    Training ends after `train.images` images. Rerun the command to resume an interrupted run from its last checkpoint.
    The run collects sample grids (samples/), a log (stats.jsonl, tensorboard/), the averaged weights (weights/) and
    the state that resuming needs (state/). `histosynth watch RUN` shows its progress.

    For several GPUs or machines, launch the same command with `torchrun` or `accelerate launch`.

    Exit codes: 0 trained; 2 a mistake, a full disk or a diverged loss; 143 after SIGTERM and 130 after SIGINT (Ctrl-C),
    both with everything saved. A second signal ends the process at once.

    \b
      histosynth train STORE --out runs/lgg --config paper
      histosynth train STORE --out runs/try --config demo --set train.images=20000
      histosynth train STORE --out runs/lgg-classifier --config paper --set train.task=classifier
      histosynth train STORE --out runs/lgg-gan --config progan-paper
      torchrun --nproc-per-node 8 -m histosynth train STORE --out runs/lgg --config paper-8gpu
    """
    # Settings and training.
    settings = load_settings(config, overrides=overrides)
    from histosynth.training.loop import train

    result = train(
        store,
        out=out,
        settings=settings,
        device=device,
        progress=not quiet,
        metrics=_metrics(store, settings, device),
    )
    # The result, and the next command.
    facts = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(result).items()}
    rate = f" at {result.images_per_second:.1f} images/s" if result.images_per_second else ""
    processes = f" on {result.processes} processes" if result.processes > 1 else ""
    limit = " (train.hours reached)" if result.ended == "hours" else ""
    next_command = f"histosynth sample {result.run} --out SAMPLES"
    if settings.model_role == "classifier":
        next_command = f"histosynth sample RUN --classifier {result.run} --out SAMPLES"
    text = (
        f"trained on {result.images} images{rate}{processes}{limit}, loss {result.loss:.4f}, "
        f"{result.hours:.2f} hours in total\n"
        f"run      {result.run}\nweights  {result.weights}\nnext     {next_command}"
    )
    print_result(facts, text, as_json=as_json)


def _metrics(store: Path, settings: Settings, device: str | None) -> "list[PeriodicMetric]":
    """Return the quick Fréchet distance if `train.frechet_every` asks for it."""

    train = settings.train
    if not train.frechet_every or settings.model_role == "classifier":
        return []
    from histosynth.metrics.extractors import build_extractor
    from histosynth.metrics.quick_frechet import quick_frechet
    from histosynth.store.store import Store
    from histosynth.training.device import pick_device
    from histosynth.training.periodic_metric import PeriodicMetric

    real = Store(store)
    weights = Path(settings.evaluate.weights) if settings.evaluate.weights else None
    measure = quick_frechet(
        real,
        real.select(split=None if train.split == "all" else train.split),
        # Under a launcher, the GPU of this process: no device is set as the current one yet.
        extractor=build_extractor(settings.evaluate.extractor, device=str(pick_device(device)), weights=weights),
        images=train.frechet_images,
        batch=settings.evaluate.batch,
        seed=train.seed,
    )
    per_label = -(-train.frechet_images // max(len(real.labels), 1))
    return [PeriodicMetric(name="frechet", every=train.frechet_every, per_label=per_label, measure=measure)]
