"""Shared parts of the small-budget experiments: 32-px patches of three tissues, a small network, and the commands.

- Osteosarcoma: 64 microns at 2 um/px, three classes, Case-4 held out; from the tiles described in `osteosarcoma.py`.
- Lung: three classes of LC25000 (Borkowski et al. 2019), fields of a microscope camera without a stated scale, taken
  for 0.5 um/px; a quarter of the original fields held out. DIR has `images/` and `labels.csv` (file, class, group).
- Colon: the other two classes of LC25000, in the same way. Settings are chosen on colon and reported on the other two.

Budgets are counted in images, so that other work on the machine changes no result.
"""

import csv
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from histosynth.cli.evaluate import COPIES_FOUND

SETTINGS = """
[patches]
region_px = 64
region_mpp = 1.0
patch_px = 32
cap = 256
quality = false                   # every region with tissue
stain = "none"                    # one laboratory; the classes also differ in color
held_out_patients = ["Case-4"]
one_label_per_patient = false     # the classes are those of tiles: a case has several

[model]
channels = 48
channel_mult = [1, 2, 3]
blocks = 1
attention_px = [8, 4]
stem = 2

[train]
batch = 8
lr = 1e-3
lr_decay = "cosine"
warmup = 1000
ema_halflife = 3000
precision = "fp32"
checkpoint_every = 16000
samples_every = 16000

[evaluate]
extractor = "efficientnet-lite0"
"""

LC25000 = SETTINGS.replace("region_px = 64\nregion_mpp = 1.0", "region_px = 128\nregion_mpp = 0.5").replace(
    'held_out_patients = ["Case-4"]', "stride = 0.5\nheld_out = 0.25"
)

TISSUES = ("osteosarcoma", "lung", "colon")

EDM = ("diffusion.process=edm", "diffusion.sigma_data=0.4")
"""The default process with the standard deviation of these patches."""


def make_store(data: Path, out: Path, *, tissue: str = "osteosarcoma", quick: bool = False) -> tuple[Path, Path]:
    """Make the settings file and the store of patches, unless they exist, and return their paths."""
    out.mkdir(parents=True, exist_ok=True)
    config, store, labels = out / "settings.toml", out / "store", data / "labels.csv"
    slides, mpp = [data / "images"], "1.0"
    config.write_text(SETTINGS)
    if tissue != "osteosarcoma":
        config.write_text(LC25000)
        with labels.open() as file:
            rows = [row for row in csv.DictReader(file) if row["class"].startswith(tissue)]
        slides, mpp, labels = [data / "images" / row["file"] for row in rows], "0.5", out / "labels.csv"
        lines = [f"{Path(row['file']).stem},{row['class']},{row['class']}-{row['group']}" for row in rows]
        labels.write_text("\n".join(["slide_id,label,patient_id", *lines]) + "\n")
    few = ["--set", "patches.cap=6"] if quick else []
    words = ["--labels", str(labels), "--mpp", mpp, "--out", str(store), "--config", str(config), *few]
    run_verb("patches", *map(str, slides), *words)
    return config, store


def set_options(settings: Iterable[str]) -> list[str]:
    """Return the settings as words of the command line, each after `--set`."""
    return [word for setting in settings for word in ("--set", setting)]


def run_verb(*words: str) -> dict[str, Any]:
    """Run a command of histosynth on one thread with its progress on the terminal, and return its result."""
    print("$ histosynth", *words, file=sys.stderr, flush=True)
    return run_python("-m", "histosynth", *words, "--json")


def run_python(*words: str) -> dict[str, Any]:
    """Run Python on one thread, and return the JSON that it printed with its seconds of processor time.

    Raises:
        SystemExit: the process failed.
    """
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, COPIES_FOUND):
        sys.exit(process.returncode)
    result: dict[str, Any] = json.loads(printed)
    return {"cpu_seconds": round(used.ru_utime + used.ru_stime, 1), **result}


def report_results(report: Mapping[str, Any]) -> dict[str, float]:
    """Return the results of a report that the tables show."""
    overall = report["overall"]
    held_out = {key: interval["value"] for key, interval in overall["fake_vs_held_out"]["measures"].items()}
    color = report["color"]["overall"]["pairs"]["fake_vs_train"]
    nuclei = (report["morphology"]["overall"]["pairs"]["fake_vs_held_out"] or {}).values()
    distances = [feature["distance_sd"] for feature in nuclei if feature["distance_sd"] is not None]
    return {
        "held-out": held_out["frechet_distance"],
        "train": overall["fake_vs_train"]["measures"]["frechet_distance"]["value"],
        "floor": overall["train_vs_held_out"]["measures"]["frechet_distance"]["value"],
        "precision": held_out["precision"],
        "recall": held_out["recall"],
        "color": color["color_distance"],
        "stain": math.nan if color["stain_distance"] is None else color["stain_distance"],
        "nuclei": statistics.mean(distances) if distances else math.nan,
        "n": overall["fake_vs_held_out"]["n"],
    }
