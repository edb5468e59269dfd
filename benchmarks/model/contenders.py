"""Generators that are trained for the same processor time, and the other settings that were tried of each.

- `small`: the preset of that name, which corrects a mixture of Gaussians. Here with the patches of `small_budget.py`.
- `without mixture`: the diffusion model that was best at this budget before, by its distance to training patches.
- `progan`: our progressive GAN, which grows during six tenths of the images.
- `denoising-diffusion-pytorch` and `diffusers`: peers with the settings that they publish (`equal_time_peers.py`),
  smaller than their defaults, and with learning rates for thousands of steps instead of millions.

`TRIES` holds two other values each of learning rate, batch and width for every generator, and the parts of `small`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from small_budget import EDM, run_python, run_verb, set_options

from histosynth.config import load_settings
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.png import synthetic_mark
from histosynth.store.store import Store, write_manifest

WITHOUT_MIXTURE = (
    *EDM, "diffusion.log_sigma_mean=-1.6", "train.batch=16", "train.lr=2e-3", "train.precision=auto",
    "train.ema_halflife=6000", "train.checkpoint_every=50000",
)  # fmt: skip
GAN = """
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
GAN_LEVEL_SHARE = 0.1
"""Share of all images for which each level of the GAN trains, and over which the next level is faded in."""
PEERS = ("denoising-diffusion-pytorch", "diffusers")
CONTENDERS = ("small", "without mixture", "progan", *PEERS)

TRIES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "small": {
        "lr 1.5e-3": ("train.lr=1.5e-3",),
        "lr 6e-3": ("train.lr=6e-3",),
        "batch 16": ("train.batch=16",),
        "batch 64": ("train.batch=64",),
        "width 24": ("model.channels=24",),
        "width 48": ("model.channels=48",),
        "no mixture": ("diffusion.mixture=0",),
        "pixel loss": ("diffusion.whitening=0.0",),
        "white loss": ("diffusion.whitening=1.0",),
        "AdamW": ("train.optimizer=adamw",),
        "AdamW, lr 2e-3": ("train.optimizer=adamw", "train.lr=2e-3"),
        "less noise": ("diffusion.log_sigma_mean=-2.0",),
        "more noise": ("diffusion.log_sigma_mean=-1.2",),
    },
    "progan": {
        "lr 1e-3": ("gan.lr=1e-3",),
        "lr 4e-3": ("gan.lr=4e-3",),
        "batch 4": ("train.batch=4",),
        "batch 16": ("train.batch=16",),
        "width 64": ("gan.width=64",),
        "width 128": ("gan.width=128",),
    },
    "denoising-diffusion-pytorch": {
        "lr 2e-4": ("--lr", "2e-4"),
        "lr 8e-4": ("--lr", "8e-4"),
        "batch 16": ("--batch", "16"),
        "batch 64": ("--batch", "64"),
        "width 24": ("--width", "24"),
        "width 48": ("--width", "48"),
    },
    "diffusers": {
        "lr 2e-4": ("--lr", "2e-4"),
        "lr 8e-4": ("--lr", "8e-4"),
        "batch 8": ("--batch", "8"),
        "batch 32": ("--batch", "32"),
        "width 24": ("--width", "24"),
        "width 48": ("--width", "48"),
    },
}
"""Settings that differ from those of the contender."""
PROBES = {"small": (320, 3200), "without mixture": (320, 1920), "progan": (2000, 8000)} | dict.fromkeys(
    PEERS, (64, 512)
)
"""Images of the two short runs that measure the time per image."""


def split_name(name: str) -> tuple[str, str]:
    """Split `CONTENDER` or `CONTENDER: TRY` into the two names, the second `""` where there is none."""
    contender, _, tried = name.partition(": ")
    if contender not in CONTENDERS or (tried and tried not in TRIES.get(contender, {})):
        raise SystemExit(f"error: no contender '{name}'")
    return contender, tried


def images_in(name: str, minutes: float, *, out: Path, settings: Path, store: Path) -> int:
    """Return how many images `name` trains on in `minutes` of processor time, its start included.

    Two short runs measure it once; `out / "rates.json"` keeps the result, so that all budgets of a machine agree.
    """
    path, contender = out / "rates.json", split_name(name)[0]
    name = contender if name.startswith(f"{contender}: lr ") else name  # the learning rate costs no time
    rates = json.loads(path.read_text()) if path.exists() else {}
    if name not in rates:
        few, many = PROBES[contender]
        seconds = [
            train(name, count, 0, out / "probes" / f"{name}, {count}", settings=settings, store=store)["cpu_seconds"]
            for count in (few, many)
        ]
        per_image = (seconds[1] - seconds[0]) / (many - few)
        rates[name] = {"start_s": seconds[0] - few * per_image, "per_image_s": per_image}
        path.write_text(json.dumps(rates, indent=2))
    return round((60 * minutes - rates[name]["start_s"]) / rates[name]["per_image_s"])


def train(
    name: str, images: int, seed: int, folder: Path, *, settings: Path, store: Path, per_label: int = 1
) -> dict[str, Any]:
    """Train on `images` images in `folder / "run"`; return `images` and `cpu_seconds`.

    A peer has no command for sampling: it writes `per_label` samples per class to `folder / "samples"`.
    """
    contender, tried = split_name(name)
    changes = TRIES[contender][tried] if tried else ()
    folder.mkdir(parents=True, exist_ok=True)
    if contender in PEERS:
        return _train_peer(contender, images, seed, folder, store=store, per_label=per_label, changes=changes)
    sets = [f"train.images={images}", f"train.seed={seed}"]
    if contender == "progan":
        settings = folder / "settings.toml"
        settings.write_text(GAN)
        sets += [f"gan.{part}_images={max(round(GAN_LEVEL_SHARE * images), 1)}" for part in ("stable", "fade")]
    elif contender == "small":
        patches = load_settings(settings).patches
        settings = folder / "settings.toml"
        small = load_settings("small").model_copy(update={"patches": patches})
        settings.write_text(tomli_w.dumps(small.model_dump(mode="json")))
    else:
        sets += WITHOUT_MIXTURE
    words = [str(store), "--out", str(folder / "run"), "--config", str(settings), *set_options([*sets, *changes])]
    made = run_verb("train", *words)
    return {"images": made["images"], "cpu_seconds": made["cpu_seconds"]}


def _train_peer(
    peer: str, images: int, seed: int, folder: Path, *, store: Path, per_label: int, changes: tuple[str, ...]
) -> dict[str, Any]:
    """Train a peer in a process of its own on the training patches, and write a store of its samples."""
    real, patches_file, samples_file = Store(store), folder / "patches.npz", folder / "samples.npz"
    rows, names, labels = real.select(split="train"), real.labels, real.column("label")
    np.savez(patches_file, images=real.images(rows), labels=np.array([names.index(labels[row]) for row in rows]))
    words = ["--patches", str(patches_file), "--out", str(samples_file), "--images", str(images), "--seed", str(seed)]
    script = str(Path(__file__).with_name("equal_time_peers.py"))
    trained = run_python(script, peer, *words, "--per-label", str(per_label), *changes)
    samples, mpp, out = np.load(samples_file), real.column("mpp")[0], folder / "samples"
    patches = [
        Patch(patch_id=f"{peer}_{i}", image=image, source=peer, label=names[label], mpp=mpp, texts=synthetic_mark(peer))
        for i, (image, label) in enumerate(zip(samples["images"], samples["labels"], strict=True))
    ]
    out.mkdir(exist_ok=True)
    write_part(part_path(out, peer), patches, fingerprint=peer)
    made_with = {"run": peer, "images_seen": trained["images"], "data_hash": real.content_hash()}
    write_manifest(out, {"synthetic": True, "source": peer, "train_split": "train", "made_with": made_with})
    for file in (patches_file, samples_file):
        file.unlink()
    return trained
