"""Color shift of samples on real tissue, as reported by users, and the settings that cause it.

The script uses the runs of `objectives.py` (equal network, patches and images seen; only the process differs) and
samples them with one setting changed at a time: steps, clipping, guidance, averaged or last weights. Four more runs
with a constant learning rate are stopped at several stages to show color during training. All results are relative to
the training patches: the distance of all tissue pixels in optical density, and the shift of the mean (+ is darker than
real). The same distance between two halves of the training patches is the baseline for real patches.

    .venv/bin/python benchmarks/model/color_shift.py --data DIR [--runs DIR] [--out DIR] [--stages [N …]] [--quick]

DIR is described in `osteosarcoma.py`. The script takes a quarter of an hour on two cores; a rerun skips finished parts.
`--quick` trains its own runs and only shows that the script runs. The last line is JSON: `ratio` is the color distance
of EDM samples divided by that of uniformly weighted noise prediction (linear schedule) with the settings of the first
row; `low` and `high` are the extremes over labels.
"""

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from small_budget import make_store, run_verb, set_options
from training_reference import TrainingReference

from histosynth.metrics.color import ColorStatistics, color_distance
from histosynth.store.store import Store
from histosynth.training.checkpoint import find_weights, load_state, newest_state, save_weights
from histosynth.training.origin import read_origin

RUNS = ("uniform", "P2", "min-SNR", "EDM", "flow")
CHANGES = {
    "ddpm, 50 steps": (),
    "10 steps": ("steps=10",),
    "250 steps": ("steps=250",),
    "not clipped": ("clip=none",),
    "clipped by percentile": ("clip=dynamic",),
    "guidance 2": ("guidance=2.0",),
    "guidance 4": ("guidance=4.0",),
    "dpmpp_2m_sde, 20 steps": ("sampler=dpmpp_2m_sde", "steps=20"),
    "ddim, 50 steps": ("sampler=ddim",),
}
ALL_CHANGES = ("uniform", "EDM")
"""Runs for which every change is measured; for the others, only the first."""
STAGED = {
    "noise, linear": ("process=ddpm", "weighting=uniform"),
    "v, linear": ("process=ddpm", "weighting=uniform", "prediction=v"),
    "v, linear, no signal at T": (
        "process=ddpm",
        "weighting=uniform",
        "prediction=v",
        "zero_terminal_snr=true",
    ),
    "EDM": ("process=edm", "sigma_data=0.4"),
}
STAGES = (1000, 2000, 4000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/objectives"))
    parser.add_argument("--out", type=Path, default=Path("runs/color_shift"))
    parser.add_argument("--per-label", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2, help="stores sampled at a time, one thread each")
    parser.add_argument(
        "--stages", type=int, nargs="*", default=STAGES, help="images seen at which training is stopped"
    )
    parser.add_argument("--quick", action="store_true", help="under a minute; only shows that the script runs")
    options = parser.parse_args()
    out, stages, changes, detailed = options.out, tuple(options.stages), CHANGES, ALL_CHANGES
    if options.quick:
        out, stages, options.per_label = Path(f"{out}-quick"), (16,), 3
        options.runs, detailed = out / "runs", ("uniform",)
        changes = {"ddpm, 50 steps": ("steps=2",), "not clipped": ("steps=2", "clip=none")}
    # Patches, runs, and the reference
    config, store = make_store(options.data, out, quick=options.quick)
    if options.quick:
        for name, staged_name in (("uniform", "noise, linear"), ("EDM", "EDM")):
            sets = set_options([*(f"diffusion.{setting}" for setting in STAGED[staged_name]), "train.images=16"])
            run_verb(
                "train", str(store), "--out", str(options.runs / f"{name}-0" / "run"), "--config", str(config), *sets
            )
    reference = TrainingReference(Store(store), patches=64 if options.quick else 2000)

    def sample(weights: Path, name: str, sampling: tuple[str, ...] = ()) -> Store:
        sets = set_options(f"sample.{setting}" for setting in ("sampler=ddpm", "steps=50", *sampling))
        run_verb(
            "sample", str(weights), "--out", str(out / name), "--per-label", str(options.per_label), "--quiet", *sets
        )
        return Store(out / name)

    # Samples of every run and change, of the last weights, and of each stage
    runs = {name: options.runs / f"{name}-0" / "run" for name in RUNS}
    runs = {name: run for name, run in runs.items() if run.exists()}
    tasks = [(r, c) for r in runs for i, c in enumerate(changes) if i == 0 or r in detailed]
    with ThreadPoolExecutor(options.jobs) as pool:
        samples = pool.map(lambda t: sample(runs[t[0]], "-".join(t).replace(" ", "_"), changes[t[1]]), tasks)
        stores = dict(zip(tasks, samples, strict=True))
        last = list(pool.map(lambda r: sample(_last(runs[r], out / f"{r}-last"), f"{r}-last_weights"), detailed))
        staged = dict(
            zip(STAGED, pool.map(lambda n: _staged(n, store, config, out, stages, sample), STAGED), strict=True)
        )
    # Tables
    halves = np.array_split(np.random.default_rng(1).permutation(Store(store).select(split="train"))[:2000], 2)
    first, second = (ColorStatistics.of(Store(store).images(np.sort(half))) for half in halves)
    print(f"two halves of the training patches: {color_distance(first, second):.3f}; n = {len(stores[tasks[0]])}")
    print(f"| | {' | '.join(runs)} |\n| --- |{' --- |' * len(runs)}")
    for change in changes:
        print(f"| {change} | {' | '.join(_cell(reference, stores.get((run, change))) for run in runs)} |")
    cells = dict(zip(detailed, last, strict=True))
    print(f"| last weights, not averaged | {' | '.join(_cell(reference, cells.get(run)) for run in runs)} |")
    if stages:
        print(f"\n| images seen | {' | '.join(map(str, stages))} |\n| --- |{' --- |' * len(stages)}")
    for name, stage_stores in staged.items() if stages else ():
        print(f"| {name} | {' | '.join(_cell(reference, store) for store in stage_stores)} |")
    # Result
    base = next(iter(changes))
    distances = {name: _by_label(reference, stores[name, base]) for name in ("EDM", "uniform")}
    ratios = [a / b for a, b in zip(distances["EDM"], distances["uniform"], strict=True)]
    result = {
        "name": "color_shift",
        "ratio": round(ratios[0], 3),
        "low": round(min(ratios[1:]), 3),
        "high": round(max(ratios[1:]), 3),
        "unit": "color distance to the training patches, EDM over noise prediction",
    }
    print(json.dumps(result, ensure_ascii=False))


def _last(run: Path, folder: Path) -> Path:
    """Write a weights file with the last weights of a run, which the run stores only in its training state."""
    path, newest = folder / "last.safetensors", newest_state(run / "state")
    if newest is None:
        raise SystemExit(f"{run} has no state")
    if not path.exists():
        save_weights(path, load_state(newest)["model"], read_origin(find_weights(run)))
    return path


def _staged(
    name: str, store: Path, config: Path, out: Path, stages: tuple[int, ...], sample: Callable[..., Store]
) -> list[Store]:
    """Sample at each stage of training with a constant learning rate."""
    run, stores = out / f"{name.replace(', ', '-').replace(' ', '_')}-run", []
    for images in stages:
        samples = out / f"{run.name}-{images}"
        if not (samples / "manifest.json").exists():
            settings = [f"diffusion.{setting}" for setting in STAGED[name]]
            settings += [f"train.images={images}", "train.lr_decay=none", "train.lr=5e-4"]
            run_verb("train", str(store), "--out", str(run), "--config", str(config), *set_options(settings))
            sample(run, samples.name)
        stores.append(Store(samples))
    return stores


def _cell(reference: TrainingReference, samples: Store | None) -> str:
    if samples is None:
        return ""
    distance, shift = reference.color(samples)
    return f"{distance:.3f} ({shift.mean():+.3f})"


def _by_label(reference: TrainingReference, samples: Store) -> list[float]:
    """Compute the color distance of all samples, and of those of each label."""
    parts = [range(len(samples)), *(samples.select(label=label) for label in samples.labels)]
    return [color_distance(reference.colors, ColorStatistics.of(samples.images(part))) for part in parts]


if __name__ == "__main__":
    main()
