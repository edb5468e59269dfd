"""Which objective gives the better patches for the same number of images: uniform, P2, min-SNR, EDM, rectified flow.

Every run has the same network, patches, order, learning rate and number of images (`small_budget.py`); only the process
and its loss differ. Samples are drawn alike, by ancestral steps along each process's own times, without guidance, and
measured by `histosynth evaluate`: Fréchet distance (EfficientNet-Lite0), precision, recall and nuclei (mean distance of
their features, in standard deviations) against the held-out case; drift of color and of the two stains, in optical
density, against the training patches. Further rows change one thing of the uniform one: the schedule, what is
predicted, whether the last time keeps a trace of signal.

    .venv/bin/python benchmarks/model/objectives.py --data DIR [--out DIR] [--images 16000] [--seeds 0 1] [--jobs 2]
    [--quick]

DIR as for `osteosarcoma.py`. About ten minutes a run on one core; runs that are done are not done again. `--quick`
shows that it runs. The last line is JSON: `ratio` is the Fréchet distance of the best objective over that of the
paper's (P2), means over seeds; `low` and `high` are the least and the largest over seeds.
"""

import argparse
import json
import statistics
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from small_budget import each, figures, make_store, verb

PAPER = "P2"
OBJECTIVES: Mapping[str, tuple[str, ...]] = {
    "uniform": ("process=ddpm", "weighting=uniform"),
    PAPER: ("process=ddpm", "weighting=p2"),
    "min-SNR": ("process=ddpm", "weighting=min_snr"),
    "EDM": ("process=edm", "sigma_data=0.4"),
    "flow": ("process=flow",),
}
VARIANTS: Mapping[str, tuple[str, ...]] = {
    "uniform, cosine": ("process=ddpm", "weighting=uniform", "schedule=cosine"),
    "uniform, v": ("process=ddpm", "weighting=uniform", "prediction=v"),
    "uniform, v, no signal at T": ("process=ddpm", "weighting=uniform", "prediction=v", "zero_terminal_snr=true"),
}
COLUMNS = ("held-out", "train", "precision", "recall", "color", "stain", "nuclei")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/objectives"))
    parser.add_argument("--images", type=int, default=16_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--per-label", type=int, default=200)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--quick", action="store_true", help="under a minute: shows that it runs, nothing else")
    options = parser.parse_args()
    out: Path = options.out
    chosen = dict(OBJECTIVES) | dict(VARIANTS)
    if options.quick:
        out, options.images, options.per_label, options.steps, options.seeds = Path(f"{out}-quick"), 32, 4, 2, [0]
        chosen = {name: OBJECTIVES[name] for name in (PAPER, "EDM")}
    config, store = make_store(options.data, out, quick=options.quick)
    # The variants explain, so one seed will do.
    tasks = [
        (name, seed) for seed in options.seeds for name in chosen if name in OBJECTIVES or seed == options.seeds[0]
    ]

    def measured(task: tuple[str, int]) -> dict[str, float]:
        name, seed = task
        return _measure(name, chosen[name], seed=seed, out=out, store=store, config=config, options=options)

    with ThreadPoolExecutor(options.jobs) as pool:
        found = dict(zip(tasks, pool.map(measured, tasks), strict=True))
    print(f"| objective | {' | '.join(COLUMNS)} |\n| --- |{' --- |' * len(COLUMNS)}")
    for name in chosen:
        rows = [row for (other, _), row in found.items() if other == name]
        print(f"| {name} | {' | '.join(_cell([row[column] for row in rows]) for column in COLUMNS)} |")
    floor = next(iter(found.values()))
    print(f"real training patches to the held-out case: {floor['floor']:.1f}; n = {floor['n']:.0f} a side")
    means = {
        name: statistics.mean(found[name, s]["held-out"] for s in options.seeds)
        for name in chosen
        if name in OBJECTIVES
    }
    best = min(means, key=means.__getitem__)
    ratios = [found[best, s]["held-out"] / found[PAPER, s]["held-out"] for s in options.seeds]
    result = {
        "name": "objectives",
        "ratio": round(means[best] / means[PAPER], 3),
        "low": round(min(ratios), 3),
        "high": round(max(ratios), 3),
        "unit": f"Fréchet distance to the held-out case, {best} over {PAPER}",
        "images": options.images,
        "means": {name: round(value, 1) for name, value in means.items()},
    }
    print(json.dumps(result, ensure_ascii=False))


def _measure(
    name: str,
    settings: tuple[str, ...],
    *,
    seed: int,
    out: Path,
    store: Path,
    config: Path,
    options: argparse.Namespace,
) -> dict[str, float]:
    """Train, sample and evaluate one run, or what of it is missing; its figures."""
    folder = out / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"
    report = folder / "report" / "report.json"
    if not report.exists():
        sets = [f"diffusion.{setting}" for setting in settings]
        sets += [f"train.images={options.images}", f"train.seed={seed}"]
        verb("train", str(store), "--out", str(folder / "run"), "--config", str(config), *each(sets))
        sampling = ["--sampler", "ddpm", "--steps", str(options.steps), "--per-label", str(options.per_label)]
        verb("sample", str(folder / "run"), "--out", str(folder / "samples"), *sampling)
        sections = each(['evaluate.sections=["color", "morphology"]'])
        sides = ["--real", str(store), "--fake", str(folder / "samples"), "--out", str(folder / "report")]
        verb("evaluate", *sides, "--config", str(config), *sections)
    return figures(json.loads(report.read_text()))


def _cell(values: list[float]) -> str:
    """The mean; with two seeds or more, both ends."""
    form = ".1f" if values[0] >= 10 else ".3f"
    mean = format(statistics.mean(values), form)
    return mean if len(values) == 1 else f"{mean} ({format(min(values), form)} to {format(max(values), form)})"


if __name__ == "__main__":
    main()
