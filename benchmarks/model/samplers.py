"""Quality by sampler and number of network evaluations: Fréchet distance at 5 to 250 of them, one model, equal seeds.

A model trained on real tissue generates the same seeds with each sampler. Features of EfficientNet-Lite0 are compared
with those of the training patches, the target of a sampler. Color is the distance of all tissue pixels to those of the
training patches, in optical density. An evaluation is one pass of the network per image; Heun's method uses two per
step.

    .venv/bin/python benchmarks/model/samplers.py --data DIR [--tissue colon] [--run RUN] [--out DIR]
        [--per-label 80] [--quick]

DIR is described in `small_budget.py`. Without `--run`, the model is trained first (`small_budget.py`). The script takes
a quarter of an hour on two cores; a rerun skips finished parts. `--quick` only shows that the script runs. The last
line is JSON: `ratio` is the distance of the default sampler at 20 evaluations divided by that of `ddpm` at 250; `low`
and `high` are the values of the two halves of the seeds.
"""

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from small_budget import EDM, TISSUES, make_store, run_verb, set_options
from training_reference import TrainingReference

from histosynth.store.store import Store

EVALUATIONS = (5, 10, 20, 50, 100, 250)
SAMPLERS = ("ddim", "dpmpp_2m", "heun", "ddpm", "dpmpp_2m_sde")
LIMITS = {"heun": 20, "dpmpp_2m_sde": 20, "ddim": 50, "dpmpp_2m": 50}
"""Maximum evaluations of samplers whose error is far below the spread of the result; others are measured at all."""
REFERENCE, DEFAULT = ("ddpm", 250), ("dpmpp_2m", 20)
IMAGES = 16_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, help="a run on the store of `small_budget.py`; by default one is trained")
    parser.add_argument("--tissue", choices=TISSUES, default="osteosarcoma")
    parser.add_argument("--out", type=Path, default=Path("runs/samplers"))
    parser.add_argument("--per-label", type=int, default=80)
    parser.add_argument("--jobs", type=int, default=2, help="stores sampled at a time, one thread each")
    parser.add_argument("--quick", action="store_true", help="under a minute; only shows that the script runs")
    options = parser.parse_args()
    out, images, counts, samplers, reference, default = options.out, IMAGES, EVALUATIONS, SAMPLERS, REFERENCE, DEFAULT
    if options.quick:
        out, images, counts, options.per_label = Path(f"{out}-quick"), 32, (5,), 4
        samplers, reference, default = ("heun", "ddpm"), ("ddpm", 5), ("heun", 5)
    # Model
    config, store = make_store(options.data, out, tissue=options.tissue, quick=options.quick)
    run = options.run or out / "run"
    if not options.run:
        run_verb(
            "train",
            str(store),
            "--out",
            str(run),
            "--config",
            str(config),
            *set_options([*EDM, f"train.images={images}"]),
        )
    # Samples
    tasks = [(name, n) for n in sorted(counts, reverse=True) for name in samplers if n <= LIMITS.get(name, n)]

    def sample(task: tuple[str, int]) -> Store:
        name, evaluations = task
        steps = (evaluations + 1) // 2 if name == "heun" else evaluations
        path = out / f"{run.name}-{name}-{evaluations}"
        sampler = ["--sampler", name, "--steps", str(steps), "--per-label", str(options.per_label)]
        run_verb("sample", str(run), "--out", str(path), *sampler, "--quiet")
        return Store(path)

    with ThreadPoolExecutor(options.jobs) as pool:
        stores = dict(zip(tasks, pool.map(sample, tasks), strict=True))
    # Table and result
    real = TrainingReference(Store(store), patches=64 if options.quick else 2000)
    frechet = {task: real.frechet(samples) for task, samples in stores.items()}
    color = {task: real.color(samples)[0] for task, samples in stores.items()}
    print(f"n = {len(next(iter(stores.values())))}; Fréchet distance (color distance in optical density)")
    print(f"| sampler | {' | '.join(map(str, counts))} |\n| --- |{' --- |' * len(counts)}")
    for name in samplers:
        cells = [f"{frechet[name, n][0]:.1f} ({color[name, n]:.3f})" if (name, n) in stores else "" for n in counts]
        print(f"| {name} | {' | '.join(cells)} |")
    ratios = [a / b for a, b in zip(frechet[default], frechet[reference], strict=True)]
    result = {
        "name": "samplers",
        "ratio": round(ratios[0], 3),
        "low": round(min(ratios[1:]), 3),
        "high": round(max(ratios[1:]), 3),
        "unit": f"Fréchet distance, {default[0]} at {default[1]} evaluations over {reference[0]} at {reference[1]}",
    }
    print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    main()
