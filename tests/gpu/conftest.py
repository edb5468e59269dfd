"""Tests that compare a GPU with the CPU; without a GPU they are skipped.

`HISTOSYNTH_TEST_DEVICE=cpu` runs those that any device can run, to keep the tests themselves right.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from histosynth.config import load_settings
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.store import write_manifest
from histosynth.training.loop import train

Train = Callable[..., Path]
UNET = [
    "model.channels=16", "model.channel_mult=[1,2]", "model.blocks=1", "model.attention_px=[8]", "model.heads=2",
    "train.images=48", "train.batch=8", "train.warmup=8", "train.lr=1e-3", "train.checkpoint_every=24",
    "train.samples_every=1000", "sample.steps=4",
]  # fmt: skip
GAN = [
    "model.kind=progan", "gan.latent=32", "gan.width=32", "gan.stable_images=8", "gan.fade_images=16",
    "train.images=72", "train.batch=8", "train.checkpoint_every=24", "train.samples_every=1000",
]  # fmt: skip


@pytest.fixture(scope="session")
def device() -> str:
    """Return the device under test."""
    name = os.environ.get("HISTOSYNTH_TEST_DEVICE") or ("cuda:0" if torch.cuda.is_available() else None)
    if name is None:
        pytest.skip("no GPU")
    return name


@pytest.fixture(scope="session")
def gpu(device: str) -> str:
    """Return the device under test, which is a GPU."""
    if not device.startswith("cuda"):
        pytest.skip("no GPU")
    return device


@pytest.fixture(autouse=True)
def _exact_products() -> None:
    """Compute convolutions of fp32 in fp32, as the CPU does."""
    torch.backends.cudnn.allow_tf32 = False


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of 32-px patches of two labels: stains of two depths."""
    directory, rng = tmp_path_factory.mktemp("store"), np.random.default_rng(0)
    stains = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
    for n in range(4):
        density = rng.gamma(2, 0.2 + 0.15 * (n % 2), (12, 32, 32, 2)) @ stains
        images = (255 * np.exp(-density)).clip(0, 255).astype(np.uint8)
        rows = [
            Patch(
                patch_id=f"S{n}_{i}", slide_id=f"S{n}", patient_id=f"P{n}", image=image, source="real", mpp=1.0,
                label=("dark", "light")[n % 2], split="held_out" if n >= 2 else "train", x=0, y=0, extent=32,
                tissue=1.0,
            )
            for i, image in enumerate(images)
        ]  # fmt: skip
        write_part(part_path(directory, f"S{n}"), rows, fingerprint="test")
    write_manifest(directory, {"synthetic": False})
    return directory


@pytest.fixture
def train_on(store: Path, tmp_path: Path) -> Train:
    """Return a function that trains a small model on a device."""

    def run(name: str, *overrides: str, device: str, precision: str = "fp32") -> Path:
        base = GAN if "model.kind=progan" in overrides else UNET
        settings = load_settings(None, overrides=[*base, f"train.precision={precision}", *overrides])
        train(store, out=tmp_path / name, settings=settings, device=device, progress=False)
        return tmp_path / name

    return run
