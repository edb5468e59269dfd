"""Speed of training and sampling compared with an earlier commit, in one run.

    python benchmarks/model/against_commit.py COMMIT [--images 1600] [--samples 48] [--repeats 3] [--quick]

The earlier code is checked out beside this clone in a temporary directory, and runs in the same environment. The
commands `train` and `sample` of the two alternate on phantom patches, on one thread, with equal settings (the preset
`small`; 20 steps of `dpmpp_2m`). Speed is the difference of two calls of different lengths, so that the start does not
count, in processor time of the process: other work on the machine has little effect. The last line is JSON: `ratio` is
our training speed divided by that of the commit, the median over the repeats, with the extremes; `sampling` likewise.
`--quick` compares one short call each, its start included, by default with this commit: it only shows that the script
runs.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from histosynth.slides.phantom import draw_cohort

HERE = Path(__file__).resolve().parents[2]
SAMPLER = ["--sampler", "dpmpp_2m", "--steps", "20", "--set", "sample.spacing=angle"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", nargs="?", default="HEAD")
    parser.add_argument("--images", type=int, default=1600)
    parser.add_argument("--samples", type=int, default=48, help="per label")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.images, options.samples, options.repeats = 32, 2, 1
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        subprocess.run(["git", "worktree", "add", "--detach", "--force", folder / "then", options.commit], cwd=HERE,
                       check=True, capture_output=True)  # fmt: skip
        try:
            ratios = compare(folder, options)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", folder / "then"], cwd=HERE, check=True)
    for name, values in ratios.items():
        print(f"{name}: {', '.join(f'{value:.3f}' for value in values)} times the speed of {options.commit}")
    training, sampling = ratios["training"], ratios["sampling"]
    result = {
        "name": "against_commit",
        "ratio": round(statistics.median(training), 3),
        "low": round(min(training), 3),
        "high": round(max(training), 3),
        "unit": f"training images per second of processor time, over {options.commit}",
        "sampling": [round(value, 3) for value in (statistics.median(sampling), min(sampling), max(sampling))],
    }
    print(json.dumps(result))


def compare(folder: Path, options: argparse.Namespace) -> dict[str, list[float]]:
    """Return the ratios of speed of all repeats."""
    now, then = HERE / "src", folder / "then" / "src"
    cohort, store = draw_cohort(folder / "cohort", size_px=1024, progress=False), folder / "store"
    tables = ["--outlines", str(cohort.outlines), "--labels", str(cohort.labels)]
    verb(now, "patches", str(cohort.slides), *tables, "--out", str(store), "--config", "demo", "--quiet")
    ratios: dict[str, list[float]] = {"training": [], "sampling": []}
    for repeat in range(options.repeats):
        training, sampling = {}, {}
        for code in (now, then) if repeat % 2 else (then, now):
            run = folder / f"run-{repeat}-{code is now}"
            train_on = partial(train, code, store, run)
            training[code] = train_on(options.images) - (0 if options.quick else train_on(options.images // 4))
            sample_from = partial(sample, code, Path(f"{run}-{options.images}"))
            sampling[code] = sample_from(options.samples) - (0 if options.quick else sample_from(options.samples // 4))
        ratios["training"].append(training[then] / training[now])
        ratios["sampling"].append(sampling[then] / sampling[now])
    return ratios


def train(code: Path, store: Path, run: Path, images: int) -> float:
    """Train `run`-`images` on a number of images, and return the seconds."""
    sets = [f"train.images={images}", "train.samples_every=1000000", "train.checkpoint_every=1000000"]
    words = [word for each in sets for word in ("--set", each)]
    return verb(code, "train", str(store), "--out", f"{run}-{images}", "--config", "small", *words, "--quiet")


def sample(code: Path, run: Path, per_label: int) -> float:
    """Draw samples, and return the seconds."""
    out = f"{run}-samples-{per_label}"
    return verb(code, "sample", str(run), "--out", out, "--per-label", str(per_label), *SAMPLER, "--quiet")


def verb(code: Path, *words: str) -> float:
    """Run a verb of the command line with the code of one version, and return the seconds of processor time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"PYTHONPATH": str(code), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "histosynth", *words], env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
