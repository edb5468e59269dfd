"""Quality of patches for equal processor time: our diffusion model, those of two peers, and our progressive GAN.

Each contender trains a class-conditional model on the same 32-px patches of osteosarcoma, Case-4 held out
(`small_budget.py`), for the same processor time: 30 minutes on one thread each. The time of the whole process counts,
including its start; it is processor time rather than wall time, so that other work on the machine affects all alike.
The peers train with their published settings (`equal_time_peers.py`). For ours, short runs first measure how many
images fit into the budget, at whose end the learning rate reaches zero; the GAN grows during six tenths of the budget.
All compute in bf16. All generate equal numbers of patches, which `histosynth evaluate` measures with
EfficientNet-Lite0, with real patches as the floor; `histosynth compare` compares the reports.

    .venv/bin/python benchmarks/model/quality_at_equal_time.py --data DIR [--out DIR] [--minutes 30] [--only NAME …]
        [--per-label 150] [--jobs 2] [--figure PNG] [--rates] [--quick]

DIR is described in `osteosarcoma.py`. `--only` with a name from `TRIED` or `GANS` measures other settings of ours. A
rerun skips finished parts, so `--only histosynth progan` after all four only writes the comparison of the paper.
`--quick` only shows that the script runs. The last line is JSON: `ratio` is the Fréchet distance to the held-out case
of our diffusion model divided by that of the best peer; `low` and `high` are the extremes over the three classes.
"""

import argparse
import io
import json
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from small_budget import EDM, make_store, report_results, run_python, run_verb, set_options

from histosynth.store.contact_sheet import contact_sheet
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.png import synthetic_mark, with_texts
from histosynth.store.store import Store, write_manifest

OURS, GAN = "histosynth", "progan"
PEERS = {"diffusers": 4e-4, "denoising-diffusion-pytorch": 4e-4}
"""Peers and their learning rates: their published 1e-4 and 8e-5 are for many more than some thousand steps."""
CHOSEN = (
    *EDM, "diffusion.log_sigma_mean=-1.6", "train.batch=16", "train.lr=2e-3", "train.precision=auto",
    "train.ema_halflife=6000", "train.checkpoint_every=50000",
)  # fmt: skip
BEFORE = ("diffusion.log_sigma_mean=-1.2", "train.lr=1.4e-3")
TRIED: Mapping[str, tuple[str, ...]] = {
    "first": (*BEFORE, "train.batch=8", "train.lr=1e-3"),
    "batch of 16": BEFORE,
    "learning rate of 2.5e-3": (*BEFORE, "train.lr=2.5e-3"),
    "wider": (*BEFORE, "model.channels=64"),
    "no turns": (*BEFORE, "train.flips=false"),
    "noise of -0.8": (*BEFORE, "diffusion.log_sigma_mean=-0.8"),
    "noise of -2": ("diffusion.log_sigma_mean=-2.0",),
    "batch of 32": ("train.batch=32", "train.lr=2.8e-3"),
    "no stem": ("model.stem=1",),
    "stem of 4 px": ("model.stem=4", "model.attention_px=[8]", "model.channel_mult=[2, 3]"),
    "fp32": ("train.precision=fp32",),
}
"""Settings tried on the path to the chosen ones; each of the first six differs from another in one step."""
GAN_SETTINGS = """
[model]
kind = "progan"

[gan]
latent = 128
width = 96
full_width_px = 8
ema_halflife = 3000
loss = "r1"
r1_gamma = 0.5
lr = 2e-3

[train]
batch = 8
checkpoint_every = 50000
samples_every = 50000
"""
GANS: Mapping[str, tuple[str, ...]] = {
    GAN: (),
    "progan, wgan_gp": ("gan.loss=wgan_gp", "gan.r1_gamma=10.0", "gan.lr=1e-3"),
}
"""The chosen GAN, and one with the loss and learning rate of Karras et al. 2018."""
LEVEL_SHARE = 0.1
"""Share of all images for which each level of the GAN trains, and over which the next level is faded in."""
COLUMNS = ("images", "held-out", "train", "precision", "recall", "color", "nuclei")
PROBES = {OURS: (400, 2000), GAN: (2000, 8000)}
"""Numbers of images of the short runs."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/equal-time"))
    parser.add_argument("--minutes", type=float, default=30, help="processor time of each contender")
    parser.add_argument(
        "--only", nargs="+", default=[OURS, *PEERS, GAN], choices=[OURS, *PEERS, *GANS, *TRIED], metavar="NAME"
    )
    parser.add_argument("--per-label", type=int, default=150)
    parser.add_argument("--jobs", type=int, default=2, help="contenders at a time, one thread each")
    parser.add_argument("--figure", type=Path, help="path of a contact sheet with patches of each contender")
    parser.add_argument(
        "--rates", action="store_true", help="only measure the training speed of ours, with chosen and tried settings"
    )
    parser.add_argument("--quick", action="store_true", help="under a minute; only shows that the script runs")
    options = parser.parse_args()
    if options.quick:
        options.out, options.minutes, options.per_label = Path(f"{options.out}-quick"), 0.15, 4
        shutil.rmtree(options.out, ignore_errors=True)
    config, store = make_store(options.data, options.out, quick=options.quick)
    if options.rates:
        _rates(config, store, options.out, probes=(16, 32) if options.quick else (320, 960))
        return
    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda name: _measure(name, config=config, store=store, options=options), options.only))
    # Table, contact sheet and comparison
    rows = dict(zip(options.only, results, strict=True))
    print(f"| | {' | '.join(COLUMNS)} |\n| --- |{' --- |' * len(COLUMNS)}")
    for name, row in rows.items():
        print(f"| {name} | {' | '.join(_cell(row[column]) for column in COLUMNS)} |")
    first = results[0]
    print(f"real training patches to the held-out case: {first['floor']:.1f}; n = {first['n']:.0f} per side")
    if options.figure:
        _draw({name: Store(options.out / name / "samples") for name in rows}, options.figure)
    if len(rows) > 1:
        reports = [str(options.out / name / "report") for name in rows]
        shutil.rmtree(options.out / "compare", ignore_errors=True)
        run_verb("compare", *reports, "--out", str(options.out / "compare"))
    # Result
    if OURS in rows and (peers := [name for name in rows if name in PEERS]):
        best = min(peers, key=lambda name: rows[name]["held-out"])
        ratios = [rows[OURS][label] / rows[best][label] for label in Store(store).labels]
        result = {
            "name": "quality_at_equal_time",
            "ratio": round(rows[OURS]["held-out"] / rows[best]["held-out"], 3),
            "low": round(min(ratios), 3),
            "high": round(max(ratios), 3),
            "unit": f"Fréchet distance to the held-out case, histosynth over {best}",
            "cpu_minutes": {name: round(row["cpu_seconds"] / 60, 2) for name, row in rows.items()},
        }
    else:
        result = {"name": "quality_at_equal_time", "held-out": {name: row["held-out"] for name, row in rows.items()}}
    print(json.dumps(result, ensure_ascii=False))


def _measure(name: str, *, config: Path, store: Path, options: argparse.Namespace) -> dict[str, float]:
    """Train, sample and evaluate one contender, except for finished parts, and return its results."""
    folder: Path = options.out / name
    folder.mkdir(exist_ok=True)
    training, report = folder / "trained.json", folder / "report" / "report.json"
    seconds, per_label = 60 * options.minutes, options.per_label
    if not training.exists():
        train = _train_peer if name in PEERS else _train_ours
        training.write_text(json.dumps(train(name, folder, config, store, seconds=seconds, per_label=per_label)))
    if not report.exists():
        sections = set_options(['evaluate.sections=["color", "morphology"]'])
        sides = ["--real", str(store), "--fake", str(folder / "samples"), "--out", str(report.parent)]
        run_verb("evaluate", *sides, "--config", str(config), *sections)
    record = json.loads(report.read_text())
    labels = {
        label: cells["fake_vs_held_out"]["measures"]["frechet_distance"]["value"]
        for label, cells in record["labels"].items()
    }
    return {**json.loads(training.read_text()), **report_results(record), **labels}


def _train_ours(
    name: str, folder: Path, config: Path, store: Path, *, seconds: float, per_label: int
) -> dict[str, Any]:
    if name in GANS:
        config = folder / "settings.toml"
        config.write_text(GAN_SETTINGS)
    images = 16
    if seconds > 60:
        start, per_image = _costs(name, config, store, folder, probes=PROBES[GAN if name in GANS else OURS])
        images = int((seconds - start) / per_image)
    trained = _train(name, images, config, store, folder / "run")
    sampled = run_verb("sample", str(folder / "run"), "--out", str(folder / "samples"), "--per-label", str(per_label))
    return {
        "images": trained["images"],
        "cpu_seconds": trained["cpu_seconds"],
        "sampling_seconds": sampled["cpu_seconds"],
    }


def _train(name: str, images: int, config: Path, store: Path, out: Path) -> dict[str, Any]:
    growth = [f"gan.{part}_images={max(round(LEVEL_SHARE * images), 1)}" for part in ("stable", "fade")]
    model = [*growth, *GANS[name]] if name in GANS else [*CHOSEN, *TRIED.get(name, ())]
    sets = [f"train.images={images}", *model]
    return run_verb("train", str(store), "--out", str(out), "--config", str(config), *set_options(sets))


def _costs(name: str, config: Path, store: Path, folder: Path, *, probes: tuple[int, int]) -> tuple[float, float]:
    """Measure the seconds of processor time for the start and per image."""
    few, many = (_train(name, images, config, store, folder / f"probe-{images}")["cpu_seconds"] for images in probes)
    per_image = (many - few) / (probes[1] - probes[0])
    return few - probes[0] * per_image, per_image


def _rates(config: Path, store: Path, out: Path, *, probes: tuple[int, int]) -> None:
    rates = {}
    for name in (OURS, *TRIED):
        shutil.rmtree(out / "rates", ignore_errors=True)
        rates[name] = round(1 / _costs(name, config, store, out / "rates", probes=probes)[1], 1)
        print(f"{name:<24} {rates[name]:5.1f} images per second of processor time", flush=True)
    print(json.dumps({"name": "quality_at_equal_time", "images_per_cpu_second": rates}))


def _train_peer(
    name: str, folder: Path, config: Path, store: Path, *, seconds: float, per_label: int
) -> dict[str, Any]:
    """Train a peer on the patches of the store, and write a store of its samples."""
    # Train in another process
    real, patches_file, samples_file = Store(store), folder / "patches.npz", folder / "samples.npz"
    rows, names, labels = real.select(split="train"), real.labels, real.column("label")
    np.savez(patches_file, images=real.images(rows), labels=np.array([names.index(labels[row]) for row in rows]))
    words = [
        "--patches",
        patches_file,
        "--out",
        samples_file,
        "--seconds",
        seconds,
        "--per-label",
        per_label,
        "--lr",
        PEERS[name],
    ]
    trained = run_python(str(Path(__file__).with_name("equal_time_peers.py")), name, *map(str, words))
    # Write its samples as a store
    samples, mpp = np.load(samples_file), real.column("mpp")[0]
    patches = [
        Patch(
            patch_id=f"{name}_{number}",
            image=image,
            source=name,
            label=names[label],
            mpp=mpp,
            texts=synthetic_mark(name),
        )
        for number, (image, label) in enumerate(zip(samples["images"], samples["labels"], strict=True))
    ]
    out = folder / "samples"
    out.mkdir(exist_ok=True)
    write_part(part_path(out, name), patches, fingerprint=name)
    made_with = {"run": name, "images_seen": trained["images"], "data_hash": real.content_hash()}
    write_manifest(out, {"synthetic": True, "source": name, "train_split": "train", "made_with": made_with})
    return trained


def _draw(samples: Mapping[str, Store], path: Path) -> None:
    """Draw the first patches of each class from each contender."""
    groups = {
        f"{name} (synthetic): {label}": store.images(store.select(label=label)[:14])
        for label in next(iter(samples.values())).labels
        for name, store in samples.items()
    }
    sheet = Image.fromarray(contact_sheet(groups, columns=14, scale=2))
    buffer = io.BytesIO()
    sheet.quantize(192, dither=Image.Dither.NONE).save(buffer, format="PNG", optimize=True)
    path.write_bytes(with_texts(buffer.getvalue(), synthetic_mark(", ".join(samples))))


def _cell(value: float) -> str:
    return format(value, ",.0f" if value >= 1000 else ".1f" if value >= 10 else ".2f")


if __name__ == "__main__":
    main()
