"""Training of the progressive GAN: the preset `progan-demo` on phantom tissue, from its first level to its last.

The script draws the cohort of `histosynth demo`, extracts its 32-px patches and trains. During training, it measures
the Fréchet distance of 300 samples to 300 training patches (EfficientNet-Lite0 features). Then 100 samples per genotype
are evaluated: their distance to held-out patients, and the share of each genotype that a classifier trained on real
patches recognizes.

    .venv/bin/python benchmarks/model/progan_phantoms.py [--run RUN --store STORE] [--out DIR] [--quick]

The script takes about 25 minutes on one core; `--quick` takes less than a minute and only shows that the script runs.
The last line is JSON.
"""

import argparse
import json
import tempfile
from pathlib import Path

from phantom_model import add_options, run_and_store
from small_budget import run_verb

from histosynth.training.log import read_stats

EVERY, IMAGES, PER_LABEL = 20_000, 300, 100
SETS = (f"train.frechet_every={EVERY}", f"train.frechet_images={IMAGES}")
QUICK = ("train.frechet_every=64", "train.frechet_images=12", "gan.stable_images=8", "gan.fade_images=8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--out", type=Path, help="directory in which all results are kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = options.out or Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        # Train, and print the distances during training
        run, store = run_and_store(options, out, preset="progan-demo", sets=QUICK if options.quick else SETS)
        stats = read_stats(run)
        for line in (line for line in stats if "frechet" in line):
            print(
                f"{line['images']:>7} images  {line['px']:>3} px, alpha {line['alpha']:.2f}  "
                f"Fréchet distance {line['frechet']:7.1f}  diversity {line['diversity']:.2f}"
            )
        # Evaluate samples
        run_verb(
            "sample", str(run), "--out", str(out / "samples"), "--per-label", str(4 if options.quick else PER_LABEL)
        )
        sides = ["--real", str(store), "--fake", str(out / "samples"), "--out", str(out / "report")]
        run_verb("evaluate", *sides, "--config", "progan-demo", "--set", 'evaluate.sections=["label_check"]')
        report = json.loads((out / "report" / "report.json").read_text())
        distances = [line["frechet"] for line in stats if "frechet" in line]
        check = report["label_check"]
        rows = zip(check["labels"], check["confusion"], strict=False)
        recognized = {label: round(row[i] / sum(row), 3) for i, (label, row) in enumerate(rows)}
        held_out = report["overall"]["fake_vs_held_out"]["measures"]["frechet_distance"]["value"]
        result = {
            "name": "progan_phantoms",
            "frechet_first": round(distances[0], 1),
            "frechet_last": round(distances[-1], 1),
            "held_out": round(held_out, 1),
            "floor": round(report["overall"]["train_vs_held_out"]["measures"]["frechet_distance"]["value"], 1),
            "recognized": recognized,
            "diversity": round(stats[-1]["diversity"], 3),
        }
        print(json.dumps(result))


if __name__ == "__main__":
    main()
