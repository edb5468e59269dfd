"""Where the colors of samples go astray, and which setting to blame: the color shift that users report, on real tissue.

It takes the runs that `objectives.py` left (equal network, patches and images seen; only the process differs) and
samples them again with one thing changed at a time: steps, clipping, guidance, averaged or last weights. Four more runs
of constant learning rate are stopped on the way, to see color over training. All figures are against the patches
trained on: the distance of all tissue pixels in optical density, and the shift of its mean (+ is darker than real).
What real patches differ by is measured alike, between two halves of the training patches.

    .venv/bin/python benchmarks/model/color_shift.py --data DIR [--runs DIR] [--out DIR] [--stages [N …]] [--quick]

The data as for `osteosarcoma.py`. A quarter of an hour on two cores; what is done is not done again; `--quick` trains
runs of its own and shows that it works. The last line is JSON: `ratio` is the color distance of EDM's samples over that
of uniformly weighted noise prediction's (linear schedule) with the settings of the first row; `low` and `high` are
those of single labels.
"""

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from judge import Judge
from small_budget import each, make_store, verb

from histosynth.metrics.color import ColorStatistics, color_distance
from histosynth.store.store import Store
from histosynth.training.checkpoint import find_weights, load_state, newest_state, read_origin, save_weights

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
CLOSELY = ("uniform", "EDM")
"""Runs of which every change is tried; of the others the first only."""
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
    parser.add_argument("--stages", type=int, nargs="*", default=STAGES, help="images seen where training is stopped")
    parser.add_argument("--quick", action="store_true", help="under a minute: shows that it runs, nothing else")
    options = parser.parse_args()
    out, stages, changes, closely = options.out, tuple(options.stages), CHANGES, CLOSELY
    if options.quick:
        out, stages, options.per_label = Path(f"{out}-quick"), (16,), 3
        options.runs, closely = out / "runs", ("uniform",)
        changes = {"ddpm, 50 steps": ("steps=2",), "not clipped": ("steps=2", "clip=none")}
    config, store = make_store(options.data, out, quick=options.quick)
    if options.quick:
        for name, like in (("uniform", "noise, linear"), ("EDM", "EDM")):
            sets = each([*(f"diffusion.{setting}" for setting in STAGED[like]), "train.images=16"])
            verb("train", str(store), "--out", str(options.runs / f"{name}-0" / "run"), "--config", str(config), *sets)
    judge = Judge(Store(store), patches=64 if options.quick else 2000)

    def color(weights: Path, name: str, sampling: tuple[str, ...] = ()) -> Store:
        sets = each(f"sample.{setting}" for setting in ("sampler=ddpm", "steps=50", *sampling))
        verb("sample", str(weights), "--out", str(out / name), "--per-label", str(options.per_label), "--quiet", *sets)
        return Store(out / name)

    runs = {name: options.runs / f"{name}-0" / "run" for name in RUNS}
    runs = {name: run for name, run in runs.items() if run.exists()}
    tasks = [(r, c) for r in runs for i, c in enumerate(changes) if i == 0 or r in closely]
    with ThreadPoolExecutor(options.jobs) as pool:
        made = pool.map(lambda t: color(runs[t[0]], "-".join(t).replace(" ", "_"), changes[t[1]]), tasks)
        stores = dict(zip(tasks, made, strict=True))
        last = list(pool.map(lambda r: color(_last(runs[r], out / f"{r}-last"), f"{r}-last_weights"), closely))
        staged = dict(
            zip(STAGED, pool.map(lambda n: _staged(n, store, config, out, stages, color), STAGED), strict=True)
        )
    halves = np.array_split(np.random.default_rng(1).permutation(Store(store).select(split="train"))[:2000], 2)
    first, second = (ColorStatistics.of(Store(store).images(np.sort(half))) for half in halves)
    print(f"two halves of the training patches: {color_distance(first, second):.3f}; n = {len(stores[tasks[0]])}")
    print(f"| | {' | '.join(runs)} |\n| --- |{' --- |' * len(runs)}")
    for change in changes:
        print(f"| {change} | {' | '.join(_cell(judge, stores.get((run, change))) for run in runs)} |")
    cells = dict(zip(closely, last, strict=True))
    print(f"| last weights, not averaged | {' | '.join(_cell(judge, cells.get(run)) for run in runs)} |")
    if stages:
        print(f"\n| images seen | {' | '.join(map(str, stages))} |\n| --- |{' --- |' * len(stages)}")
    for name, found in staged.items() if stages else ():
        print(f"| {name} | {' | '.join(_cell(judge, samples) for samples in found)} |")
    base = next(iter(changes))
    distances = {name: _by_label(judge, stores[name, base]) for name in ("EDM", "uniform")}
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
    """A weights file of the last weights of a run, which otherwise are only there to resume."""
    path, newest = folder / "last.safetensors", newest_state(run / "state")
    if newest is None:
        raise SystemExit(f"{run} has no state")
    if not path.exists():
        save_weights(path, load_state(newest)["model"], read_origin(find_weights(run)))
    return path


def _staged(
    name: str, store: Path, config: Path, out: Path, stages: tuple[int, ...], color: Callable[..., Store]
) -> list[Store]:
    """Samples at each stage of a training of constant learning rate."""
    run, found = out / f"{name.replace(', ', '-').replace(' ', '_')}-run", []
    for images in stages:
        samples = out / f"{run.name}-{images}"
        if not (samples / "manifest.json").exists():
            settings = [f"diffusion.{setting}" for setting in STAGED[name]]
            settings += [f"train.images={images}", "train.lr_decay=none", "train.lr=5e-4"]
            verb("train", str(store), "--out", str(run), "--config", str(config), *each(settings))
            color(run, samples.name)
        found.append(Store(samples))
    return found


def _cell(judge: Judge, samples: Store | None) -> str:
    if samples is None:
        return ""
    distance, shift = judge.color(samples)
    return f"{distance:.3f} ({shift.mean():+.3f})"


def _by_label(judge: Judge, samples: Store) -> list[float]:
    """The color distance of all samples, and of each label's."""
    parts = [range(len(samples)), *(samples.select(label=label) for label in samples.labels)]
    return [color_distance(judge.colors, ColorStatistics.of(samples.images(part))) for part in parts]


if __name__ == "__main__":
    main()
