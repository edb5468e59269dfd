"""Quality for the network's evaluations: Fréchet distance of every sampler at 5 to 250 of them, one model, equal seeds.

A model trained on real tissue makes the same seeds with each sampler. Features are EfficientNet-Lite0's, against the
patches that it was trained on, for that is what a sampler can be held to; color is the distance of all tissue pixels to
theirs, in optical density. An evaluation is one pass of the network for an image: Heun's rule costs two a step.

    .venv/bin/python benchmarks/model/samplers.py --data DIR [--run RUN] [--out DIR] [--per-label 80] [--quick]

DIR as for `osteosarcoma.py`. Without `--run` the model is trained first (`small_budget.py`). A quarter of an hour on
two cores; what is done is not done again; `--quick` shows that it runs. The last line is JSON: `ratio` is the distance
of the default sampler at its 20 evaluations over that of `ddpm` at 250; `low` and `high` are those of either half of
the seeds.
"""

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from judge import Judge
from small_budget import EDM, each, make_store, verb

from histosynth.store.store import Store

EVALUATIONS = (5, 10, 20, 50, 100, 250)
SAMPLERS = ("ddim", "dpmpp_2m", "heun", "ddpm", "dpmpp_2m_sde")
LIMITS = {"heun": 20, "dpmpp_2m_sde": 20, "ddim": 50, "dpmpp_2m": 50}
"""Most evaluations of these, whose error has long been smaller than the spread of the figure; of others all."""
REFERENCE, DEFAULT = ("ddpm", 250), ("dpmpp_2m", 20)
IMAGES = 16_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, help="a run on the store of `small_budget.py`; none given: one is trained")
    parser.add_argument("--out", type=Path, default=Path("runs/samplers"))
    parser.add_argument("--per-label", type=int, default=80)
    parser.add_argument("--jobs", type=int, default=2, help="stores sampled at a time, one thread each")
    parser.add_argument("--quick", action="store_true", help="under a minute: shows that it runs, nothing else")
    options = parser.parse_args()
    out, images, counts, reference = options.out, IMAGES, EVALUATIONS, REFERENCE
    if options.quick:
        out, images, counts, options.per_label = Path(f"{out}-quick"), 32, (5, 20), 4
        reference = ("ddpm", 20)
    config, store = make_store(options.data, out, quick=options.quick)
    run = options.run or out / "run"
    if not options.run:
        verb("train", str(store), "--out", str(run), "--config", str(config), *each([*EDM, f"train.images={images}"]))
    tasks = [(name, n) for n in sorted(counts, reverse=True) for name in SAMPLERS if n <= LIMITS.get(name, n)]

    def sampled(task: tuple[str, int]) -> Store:
        name, evaluations = task
        steps = (evaluations + 1) // 2 if name == "heun" else evaluations
        path = out / f"{run.name}-{name}-{evaluations}"
        sampler = ["--sampler", name, "--steps", str(steps), "--per-label", str(options.per_label)]
        verb("sample", str(run), "--out", str(path), *sampler, "--quiet")
        return Store(path)

    with ThreadPoolExecutor(options.jobs) as pool:
        stores = dict(zip(tasks, pool.map(sampled, tasks), strict=True))
    judge = Judge(Store(store), patches=64 if options.quick else 2000)
    frechet = {task: judge.frechet(samples) for task, samples in stores.items()}
    color = {task: judge.color(samples)[0] for task, samples in stores.items()}
    print(f"n = {len(next(iter(stores.values())))}; Fréchet distance (color distance in optical density)")
    print(f"| sampler | {' | '.join(map(str, counts))} |\n| --- |{' --- |' * len(counts)}")
    for name in SAMPLERS:
        cells = [f"{frechet[name, n][0]:.1f} ({color[name, n]:.3f})" if (name, n) in stores else "" for n in counts]
        print(f"| {name} | {' | '.join(cells)} |")
    ratios = [a / b for a, b in zip(frechet[DEFAULT], frechet[reference], strict=True)]
    result = {
        "name": "samplers",
        "ratio": round(ratios[0], 3),
        "low": round(min(ratios[1:]), 3),
        "high": round(max(ratios[1:]), 3),
        "unit": f"Fréchet distance, {DEFAULT[0]} at {DEFAULT[1]} evaluations over {reference[0]} at {reference[1]}",
    }
    print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    main()
