"""A run and its store of phantom tissue for benchmarks that need a model: given as options, or made as in the demo."""

import argparse
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from histosynth.slides.phantom import draw_cohort


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, help="a trained run, with --store; otherwise one is trained in minutes")
    parser.add_argument("--store", type=Path, help="the store that it was trained on")
    parser.add_argument("--quick", action="store_true", help="under a minute; only shows that the script runs")


def run_and_store(
    options: argparse.Namespace, folder: Path, *, preset: str = "demo", sets: Iterable[str] = ()
) -> tuple[Path, Path]:
    """Return the given run and store, or make them in `folder` by a preset and `sets`; small with `--quick`."""
    if options.run and options.store:
        return options.run, options.store
    cohort = draw_cohort(folder / "cohort", **({"patients_per_genotype": 2, "size_px": 768} if options.quick else {}))
    run, store = folder / "run", folder / "store"
    overrides = [*sets, *(["train.images=64"] if options.quick else [])]
    train_options = [word for setting in overrides for word in ("--set", setting)]
    labels = ["--labels", cohort.labels, "--outlines", cohort.outlines]
    for verb in (["patches", cohort.slides, *labels, "--out", store], ["train", store, "--out", run, *train_options]):
        words = [sys.executable, "-m", "histosynth", *map(str, verb), "--config", preset]
        subprocess.run(words, check=True, capture_output=True)
    return run, store
