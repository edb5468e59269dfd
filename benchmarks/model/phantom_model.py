"""A run and its store of phantom tissue, for benchmarks that need a model: given, or made as `histosynth demo` does."""

import argparse
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from histosynth.slides.phantom import draw_cohort


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, help="a trained run (with --store; else one is made, in minutes)")
    parser.add_argument("--store", type=Path, help="the store that it was trained on")
    parser.add_argument("--quick", action="store_true", help="under a minute: shows that it runs")


def run_and_store(
    given: argparse.Namespace, folder: Path, *, preset: str = "demo", sets: Iterable[str] = ()
) -> tuple[Path, Path]:
    """Those given; else made in `folder` by a preset and `sets`, with `--quick` from few patches and hardly trained."""
    if given.run and given.store:
        return given.run, given.store
    cohort = draw_cohort(folder / "cohort", **({"patients_per_genotype": 2, "size_px": 768} if given.quick else {}))
    run, store = folder / "run", folder / "store"
    changed = [*sets, *(["train.images=64"] if given.quick else [])]
    few = [word for setting in changed for word in ("--set", setting)]
    labels = ["--labels", cohort.labels, "--outlines", cohort.outlines]
    for verb in (["patches", cohort.slides, *labels, "--out", store], ["train", store, "--out", run, *few]):
        words = [sys.executable, "-m", "histosynth", *map(str, verb), "--config", preset]
        subprocess.run(words, check=True, capture_output=True)
    return run, store
