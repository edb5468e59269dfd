"""What each part of the preset `small` is worth: the recipe with one part replaced, at equal processor time.

    .venv/bin/python benchmarks/model/small_recipe.py --data DIR [--out DIR] [--minutes 5] [--only NAME …]
        [--seed 0] [--autoguidance W …] [--per-label 150] [--quick]

32-px patches of osteosarcoma, Case-4 held out (`small_budget.py`; DIR as for `osteosarcoma.py`). Short runs measure how
many images fit into the budget, which counts all processor time of training, one thread. Choices are made by the
distance to training patches; that to the held-out case is printed beside it. `--autoguidance` samples each run once
more for every weight. What is done is not done again. The last line is JSON.
"""

import argparse
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w
from small_budget import make_store, report_results, run_verb, set_options

from histosynth.config import load_settings

PARTS: Mapping[str, tuple[str, ...]] = {
    "small": (),
    "no mixture": ("diffusion.mixture=0",),
    "pixel loss": ("diffusion.whitening=0.0",),
    "white loss": ("diffusion.whitening=1.0",),
    "AdamW": ("train.optimizer=adamw",),
    "AdamW at 2e-3": ("train.optimizer=adamw", "train.lr=2e-3"),
    "48 channels": ("model.channels=48",),
    "batch of 16": ("train.batch=16",),
    "learning rate of 1.5e-3": ("train.lr=1.5e-3",),
    "learning rate of 6e-3": ("train.lr=6e-3",),
    "noise of -1.2": ("diffusion.log_sigma_mean=-1.2",),
    "noise of -2": ("diffusion.log_sigma_mean=-2.0",),
    "cosine": ("train.lr_decay=cosine",),
}
"""The recipe, and it with one part replaced."""
COLUMNS = ("images", "train", "held-out", "precision", "recall", "color", "nuclei")
PROBES = (320, 1920)
"""Images of the short runs."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/small-recipe"))
    parser.add_argument("--minutes", type=float, default=5, help="of processor time, each")
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=PARTS, metavar="NAME")
    parser.add_argument("--seed", type=int, default=0, help="of training")
    parser.add_argument("--autoguidance", nargs="*", type=float, default=[], metavar="W")
    parser.add_argument("--per-label", type=int, default=150)
    parser.add_argument("--quick", action="store_true", help="under a minute: shows that it runs, nothing else")
    options = parser.parse_args()
    if options.quick:
        options.out, options.minutes, options.per_label = Path(f"{options.out}-quick"), 0.0, 4
        options.only, options.autoguidance = ["small"], [1.5]
        shutil.rmtree(options.out, ignore_errors=True)
    patches, store = make_store(options.data, options.out, quick=options.quick)
    config = options.out / "small.toml"
    settings = load_settings("small").model_copy(update={"patches": load_settings(patches).patches})
    config.write_text(tomli_w.dumps(settings.model_dump(mode="json")))
    rows = {}
    print(f"| | {' | '.join(COLUMNS)} |\n| --- |{' --- |' * len(COLUMNS)}")
    for name in options.only:
        folder = options.out / f"{name}, {options.minutes:g} min, seed {options.seed}"
        trained = _trained(name, folder, config, store, seconds=60 * options.minutes, seed=options.seed)
        for weight in (1.0, *options.autoguidance):
            row = trained | _measured(folder, config, store, weight=weight, per_label=options.per_label)
            title = name if weight == 1 else f"{name}, autoguidance {weight:g}"
            print(f"| {title} | {' | '.join(_cell(row[column]) for column in COLUMNS)} |", flush=True)
            rows[title] = row
    print(json.dumps({"name": "small_recipe", "train": {title: row["train"] for title, row in rows.items()}}))


def _trained(name: str, folder: Path, config: Path, store: Path, *, seconds: float, seed: int) -> dict[str, Any]:
    """Train as long as the budget allows, unless it is done; images and processor time."""
    record = folder / "trained.json"
    if not record.exists():
        sets = [*PARTS[name], f"train.seed={seed}"]

        def train(images: int, out: Path) -> dict[str, Any]:
            options = set_options([*sets, f"train.images={images}"])
            return run_verb("train", str(store), "--out", str(out), "--config", str(config), *options)

        images = 64
        if seconds:
            few, many = (train(count, folder / f"probe-{count}")["cpu_seconds"] for count in PROBES)
            per_image = (many - few) / (PROBES[1] - PROBES[0])
            images = int((seconds - few) / per_image) + PROBES[0]
        made = train(images, folder / "run")
        record.write_text(json.dumps({key: made[key] for key in ("images", "cpu_seconds")}))
    trained: dict[str, Any] = json.loads(record.read_text())
    return trained


def _measured(folder: Path, config: Path, store: Path, *, weight: float, per_label: int) -> dict[str, float]:
    """Sample and evaluate, or what of it is missing."""
    samples, report = (folder / f"{kind}-{weight:g}" for kind in ("samples", "report"))
    if not (report / "report.json").exists():
        guided = set_options([f"sample.autoguidance={weight}"])
        run_verb("sample", str(folder / "run"), "--out", str(samples), "--per-label", str(per_label), *guided)
        sections = set_options(['evaluate.sections=["color", "morphology"]'])
        sides = ["--real", str(store), "--fake", str(samples), "--out", str(report)]
        run_verb("evaluate", *sides, "--config", str(config), *sections)
    return report_results(json.loads((report / "report.json").read_text()))


def _cell(value: float) -> str:
    return format(value, ",.0f" if value >= 1000 else ".1f" if value >= 10 else ".2f")


if __name__ == "__main__":
    main()
