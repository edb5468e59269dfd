"""A tiny store and tiny settings, so that a run takes a second."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from histosynth.config import Settings, load_settings
from histosynth.patches.store import Patch, part_path, write_manifest, write_part

TINY = [
    "model.channels=8", "model.channel_mult=[1,2]", "model.blocks=1", "model.attention_px=[4]", "model.heads=2",
    "train.images=96", "train.batch=8", "train.warmup=16", "train.checkpoint_every=32", "train.samples_every=96",
    "train.lr=1e-3", "train.seed=3", "sample.steps=2",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Tiny networks lose by threads, most of all beside other processes."""
    torch.set_num_threads(1)


@pytest.fixture
def tiny_settings() -> Settings:
    return load_settings(None, overrides=TINY)


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., Path]:
    """Make a store of 8-px patches: label `dark` or `light` by patient; patient P3 and P4 are held out."""

    def make(name: str = "store", *, seed: int = 0, labels: tuple[str | None, ...] = ("dark", "light")) -> Path:
        directory, rng = tmp_path / name, np.random.default_rng(seed)
        directory.mkdir()
        for n in range(5):
            label = labels[n % len(labels)]
            base = 60 if label == "dark" else 190
            images = (base + rng.integers(-30, 30, (6, 8, 8, 3))).astype(np.uint8)
            rows = [
                Patch(
                    patch_id=f"S{n}_{i}", slide_id=f"S{n}", patient_id=f"P{n}", image=image, source="real", label=label,
                    mpp=1.0, split="held_out" if n >= 3 else "train", x=0, y=0, extent=8, tissue=1.0,
                )
                for i, image in enumerate(images)
            ]  # fmt: skip
            write_part(part_path(directory, f"S{n}"), rows, fingerprint="test")
        write_manifest(directory, {"synthetic": False})
        return directory

    return make
