"""The paper's comparison on a small budget: diffusion and progressive GAN, each for the same processor time.

Both see the same 32-px patches of osteosarcoma, Case-4 held out, and are told the class; each measures on short runs
how many images fit into its budget, and is then trained on as many. The GAN grows over the first part of that. Store,
settings and figures are those of `quality_at_equal_time.py`; given the same `--out`, its diffusion model is not trained
again. `histosynth evaluate` measures both beside real patches, `histosynth compare` writes the paper's tables.

    .venv/bin/python benchmarks/progan_vs_diffusion.py --data DIR [--out DIR] [--minutes 30] [--per-label 200]
        [--only NAME …] [--jobs 2] [--figure PNG] [--quick]

DIR as for `osteosarcoma.py`; 30 minutes of one core each. `--only` with a name of `TRIED` measures other settings of
the GAN. The last line is JSON: `ratio` is the Fréchet distance to the held-out case of the diffusion model over that of
the GAN; `low` and `high` are the least and the largest over the three classes. `--quick` shows that it runs.
"""

import argparse
import json
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from histosynth.patches.store import Store
from quality_at_equal_time import COLUMNS, OURS, _cell, _draw, _train_ours
from small_budget import each, figures, make_store, verb

GAN = "progan"
GAN_SETTINGS = """
[model]
kind = "progan"

[gan]
latent = 128
width = 96
full_width_px = 8
loss = "r1"
r1_gamma = 0.5
lr = 2e-3
ema_halflife = 3000

[train]
batch = 8
precision = "auto"
checkpoint_every = 1000000
samples_every = 1000000
"""
LEVEL_SHARE = 0.1
"""Of all images: on which each level trains, and over which it is faded in; 32 px are there in full after 0.6."""
PROBES = (2000, 8000)
TRIED: Mapping[str, tuple[str, ...]] = {
    GAN: (),
    "wgan_gp": ("gan.loss=wgan_gp", "gan.r1_gamma=10.0", "gan.lr=1e-3"),
    "larger steps": ("gan.lr=4e-3", "train.lr_decay=cosine"),
}
"""Settings of the GAN by name; `wgan_gp` are those of Karras et al. 2018."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/equal-time"))
    parser.add_argument("--minutes", type=float, default=30, help="of processor time, each")
    parser.add_argument("--per-label", type=int, default=200)
    parser.add_argument("--only", nargs="+", default=[OURS, GAN], choices=[OURS, *TRIED], metavar="NAME")
    parser.add_argument("--jobs", type=int, default=2, help="models at a time, one thread each")
    parser.add_argument("--figure", type=Path, help="a picture of patches of each")
    parser.add_argument("--quick", action="store_true", help="some minutes: shows that it runs, nothing else")
    options = parser.parse_args()
    if options.quick:
        options.out, options.minutes, options.per_label = Path(f"{options.out}-quick"), 0.2, 4
        shutil.rmtree(options.out, ignore_errors=True)
    config, store = make_store(options.data, options.out, quick=options.quick)
    with ThreadPoolExecutor(options.jobs) as pool:
        found = list(pool.map(lambda name: _measured(name, config=config, store=store, options=options), options.only))
    rows = dict(zip(options.only, found, strict=True))
    print(f"| | {' | '.join(COLUMNS)} |\n| --- |{' --- |' * len(COLUMNS)}")
    for name, row in rows.items():
        print(f"| {name} | {' | '.join(_cell(row[column]) for column in COLUMNS)} |")
    print(f"real training patches to the held-out case: {found[0]['floor']:.1f}; n = {found[0]['n']:.0f} a side")
    if options.figure:
        _draw({name: Store(options.out / name / "samples") for name in rows}, options.figure)
    result: dict[str, Any] = {"name": "progan_vs_diffusion"}
    result["held-out"] = {name: row["held-out"] for name, row in rows.items()}
    result["cpu_minutes"] = {name: round(row["cpu_seconds"] / 60, 2) for name, row in rows.items()}
    if len(rows) > 1:
        comparison = options.out / "compare-progan"
        shutil.rmtree(comparison, ignore_errors=True)
        verb("compare", *(str(options.out / name / "report") for name in rows), "--out", str(comparison))
    if OURS in rows and GAN in rows:
        ratios = [rows[OURS][label] / rows[GAN][label] for label in Store(store).labels]
        result |= {
            "ratio": round(rows[OURS]["held-out"] / rows[GAN]["held-out"], 3),
            "low": round(min(ratios), 3),
            "high": round(max(ratios), 3),
            "unit": "Fréchet distance to the held-out case, diffusion over progan",
        }
    print(json.dumps(result, ensure_ascii=False))


def _measured(name: str, *, config: Path, store: Path, options: argparse.Namespace) -> dict[str, float]:
    """Train, sample and evaluate one model, or what of it is missing; its figures."""
    folder: Path = options.out / name
    folder.mkdir(exist_ok=True)
    told, report = folder / "trained.json", folder / "report" / "report.json"
    seconds, per_label = 60 * options.minutes, options.per_label
    if not told.exists():
        train = _train_ours if name == OURS else _train_gan
        told.write_text(json.dumps(train(name, folder, config, store, seconds=seconds, per_label=per_label)))
    if not report.exists():
        sections = each(['evaluate.sections=["color", "morphology"]'])
        sides = ["--real", str(store), "--fake", str(folder / "samples"), "--out", str(report.parent)]
        verb("evaluate", *sides, "--config", str(config), *sections)
    record = json.loads(report.read_text())
    labels = {
        label: cells["fake_vs_held_out"]["measures"]["frechet_distance"]["value"]
        for label, cells in record["labels"].items()
    }
    return {**json.loads(told.read_text()), **figures(record), **labels}


def _train_gan(name: str, folder: Path, config: Path, store: Path, *, seconds: float, per_label: int) -> dict[str, Any]:
    own = folder / "settings.toml"
    own.write_text(GAN_SETTINGS)

    def train(images: int, out: Path) -> dict[str, Any]:
        grown = [f"gan.{part}_images={max(round(LEVEL_SHARE * images), 1)}" for part in ("stable", "fade")]
        sets = each([*grown, f"train.images={images}", *TRIED[name]])
        return verb("train", str(store), "--out", str(out), "--config", str(own), *sets)

    images = 16
    if seconds > 60:  # the shares of the levels stay, so that time is linear in images
        few, many = (train(count, folder / f"probe-{count}")["cpu_seconds"] for count in PROBES)
        images = PROBES[0] + int((seconds - few) / (many - few) * (PROBES[1] - PROBES[0]))
    trained = train(images, folder / "run")
    sampled = verb("sample", str(folder / "run"), "--out", str(folder / "samples"), "--per-label", str(per_label))
    return {
        "images": trained["images"],
        "cpu_seconds": trained["cpu_seconds"],
        "sampling_seconds": sampled["cpu_seconds"],
    }


if __name__ == "__main__":
    main()
