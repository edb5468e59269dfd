"""What a small budget gives on real tissue: the whole way on osteosarcoma tiles, held-out case and all.

    python benchmarks/model/osteosarcoma.py --data DIR [--out DIR] [--quick]

DIR holds `images/*.jpg` (60 H&E tiles of 1024 x 1024 px at 10x, three classes) and `labels.csv` (file, class, case):
the tiles that the GitHub repository atlan-antillia/EfficientNet-Osteosarcoma has under projects/Osteosarcoma/test, from
Leavey et al. 2019 (TCIA, doi:10.7937/tcia.2019.bvhjhdas, CC BY 3.0).

64-px patches at 1 um/px, Case-4 held out, a small U-Net under EDM preconditioning. It runs the verbs that a user would
type, so it resumes when called again. The last line is JSON: `ratio` is the Fréchet distance (EfficientNet-Lite0) of
synthetic patches to the held-out case over that of the training cases to it; 1 would be as close as real patches are.
`low` and `high` are the least and the largest ratio of the three classes, each at its own n.
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
quality = false                   # every place with tissue: the README's figures are of these
stain = "none"                    # one laboratory; and the classes are told apart by color too
held_out_patients = ["Case-4"]
one_label_per_patient = false       # the classes are of tiles: a case has several

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
    parser.add_argument("--quick", action="store_true", help="under a minute: shows that it runs, nothing else")
    options = parser.parse_args()
    out: Path = options.out.with_name(options.out.name + "-quick") if options.quick else options.out
    out.mkdir(parents=True, exist_ok=True)
    config = out / "settings.toml"
    config.write_text(SETTINGS)
    quick = ["--set", "train.images=64", "--set", "train.warmup=8", "--set", "sample.steps=2"] if options.quick else []
    few = ["--set", "patches.cap=4"] if options.quick else []
    per_label = "4" if options.quick else str(options.per_label)
    labels = str(options.data / "labels.csv")
    common = ["--config", str(config)]
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
    """Run a verb, progress on the terminal; its result."""
    print("$ histosynth", *words, file=sys.stderr)
    ended = subprocess.run([sys.executable, "-m", "histosynth", *words, "--json"], stdout=subprocess.PIPE, check=False)
    if ended.returncode not in (0, COPIES_FOUND):
        sys.exit(ended.returncode)
    result: dict[str, object] = json.loads(ended.stdout)
    return result


def ratio(cells: dict[str, dict[str, float]]) -> float:
    return (
        cells["fake_vs_held_out"]["measures"]["frechet_distance"]["value"]
        / cells["train_vs_held_out"]["measures"]["frechet_distance"]["value"]
    )


if __name__ == "__main__":
    main()
