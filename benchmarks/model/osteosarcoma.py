"""Results of a small budget on real tissue: all steps on osteosarcoma tiles, with a held-out case.

    python benchmarks/model/osteosarcoma.py --data DIR [--out DIR] [--quick]

DIR contains `images/*.jpg` (60 H&E tiles of 1024 x 1024 px at 10x, three classes) and `labels.csv` (file, class, case).
These are the tiles under projects/Osteosarcoma/test of the GitHub repository atlan-antillia/EfficientNet-Osteosarcoma,
from Leavey et al. 2019 (TCIA, doi:10.7937/tcia.2019.bvhjhdas, CC BY 3.0).

The script uses 64-px patches at 1 um/px, Case-4 held out, and a small U-Net with EDM preconditioning. It runs the
commands that a user would type; rerun it to resume. The last line is JSON: `ratio` is the Fréchet distance
(EfficientNet-Lite0) of synthetic patches to the held-out case divided by that of the training cases; 1 would be as
close as real patches. `low` and `high` are the extremes over the three classes, each with its own n.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from histosynth.cli.evaluate import COPIES_FOUND

SETTINGS = """
[patches]
region_px = 64
region_mpp = 1.0
patch_px = 64
cap = 256
min_tissue = 0.5
quality = false                   # every region with tissue, as for the results in the README
stain = "none"                    # one laboratory; the classes also differ in color
held_out_patients = ["Case-4"]
one_label_per_patient = false     # the classes are those of tiles: a case has several

[model]
channels = 48
channel_mult = [1, 1, 2, 3]
blocks = 1
attention_px = [8]
stem = 2

[diffusion]
process = "edm"
sigma_data = 0.4

[train]
images = 80000
batch = 8
lr = 2e-3
lr_decay = "cosine"
warmup = 2000
ema_halflife = 8000
checkpoint_every = 8000
samples_every = 16000

[sample]
sampler = "ddpm"
steps = 32
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/osteosarcoma"))
    parser.add_argument("--per-label", type=int, default=300)
    parser.add_argument("--quick", action="store_true", help="under a minute; only shows that the script runs")
    options = parser.parse_args()
    # Options of the commands
    out: Path = options.out.with_name(options.out.name + "-quick") if options.quick else options.out
    out.mkdir(parents=True, exist_ok=True)
    config = out / "settings.toml"
    config.write_text(SETTINGS)
    quick = ["--set", "train.images=64", "--set", "train.warmup=8", "--set", "sample.steps=2"] if options.quick else []
    few = ["--set", "patches.cap=4"] if options.quick else []
    per_label = "4" if options.quick else str(options.per_label)
    labels = str(options.data / "labels.csv")
    common = ["--config", str(config)]
    # Commands
    started = time.perf_counter()
    run(
        "patches",
        str(options.data / "images"),
        "--labels",
        labels,
        "--mpp",
        "1.0",
        "--out",
        str(out / "store"),
        *common,
        *few,
    )
    trained = run("train", str(out / "store"), "--out", str(out / "run"), *common, *quick)
    run("sample", str(out / "run"), "--out", str(out / "samples"), "--per-label", per_label)
    run("evaluate", "--real", str(out / "store"), "--fake", str(out / "samples"), "--out", str(out / "report"))
    # Result
    report = json.loads((out / "report" / "report.json").read_text())
    overall = report["overall"]
    ratios = sorted(ratio(cells) for cells in report["labels"].values())
    result = {
        "name": "osteosarcoma",
        "ratio": round(ratio(overall), 3),
        "low": round(ratios[0], 3),
        "high": round(ratios[-1], 3),
        "unit": "Fréchet distance to the held-out case, synthetic over real training patches",
        "fake_vs_held_out": overall["fake_vs_held_out"]["measures"]["frechet_distance"]["value"],
        "fake_vs_train": overall["fake_vs_train"]["measures"]["frechet_distance"]["value"],
        "train_vs_held_out": overall["train_vs_held_out"]["measures"]["frechet_distance"]["value"],
        "precision": overall["fake_vs_held_out"]["measures"]["precision"]["value"],
        "recall": overall["fake_vs_held_out"]["measures"]["recall"]["value"],
        "n": overall["fake_vs_held_out"]["n"],
        "images_trained": trained["images"],
        "images_per_second": trained["images_per_second"],
        "seconds": round(time.perf_counter() - started),
    }
    print(json.dumps(result, ensure_ascii=False))


def run(*words: str) -> dict[str, object]:
    """Run a command with its progress on the terminal, and return its result."""
    print("$ histosynth", *words, file=sys.stderr)
    process = subprocess.run(
        [sys.executable, "-m", "histosynth", *words, "--json"], stdout=subprocess.PIPE, check=False
    )
    if process.returncode not in (0, COPIES_FOUND):
        sys.exit(process.returncode)
    result: dict[str, object] = json.loads(process.stdout)
    return result


def ratio(cells: dict[str, dict[str, float]]) -> float:
    return (
        cells["fake_vs_held_out"]["measures"]["frechet_distance"]["value"]
        / cells["train_vs_held_out"]["measures"]["frechet_distance"]["value"]
    )


if __name__ == "__main__":
    main()
