"""What the experiments on a small budget share: osteosarcoma patches of 32 px, a network for minutes, and the verbs.

The patches show 64 microns at 2 um/px, in three classes, with Case-4 held out; they come from the tiles that
`osteosarcoma.py` names. Budgets are counted in images, so that a busy machine changes no figure.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from histosynth.cli.evaluate import COPIES_FOUND

SETTINGS = """
[patches]
region_px = 64
region_mpp = 1.0
patch_px = 32
cap = 256
quality = false                   # every place with tissue
stain = "none"                    # one laboratory; and the classes are told apart by color too
held_out_patients = ["Case-4"]
one_label_a_patient = false       # the classes are of tiles: a case has several

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

EDM = ("diffusion.process=edm", "diffusion.sigma_data=0.4")
"""The default process, told the standard deviation of these patches."""


def make_store(data: Path, out: Path, *, quick: bool = False) -> tuple[Path, Path]:
    """The store of patches and the settings file, made where they are not there yet."""
    out.mkdir(parents=True, exist_ok=True)
    config, store = out / "settings.toml", out / "store"
    config.write_text(SETTINGS)
    few = ["--set", "patches.cap=6"] if quick else []
    labels = ["--labels", str(data / "labels.csv"), "--mpp", "1.0"]
    verb("patches", str(data / "images"), *labels, "--out", str(store), "--config", str(config), *few)
    return config, store


def each(settings: Iterable[str]) -> list[str]:
    """`--set` before each."""
    return [word for setting in settings for word in ("--set", setting)]


def verb(*words: str) -> dict[str, Any]:
    """Run a verb on one thread, with its progress on the terminal; its result."""
    print("$ histosynth", *words, file=sys.stderr, flush=True)
    ended = subprocess.run(
        [sys.executable, "-m", "histosynth", *words, "--json"],
        stdout=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    if ended.returncode not in (0, COPIES_FOUND):
        sys.exit(ended.returncode)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found
