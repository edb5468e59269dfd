"""Settings and tasks of a tiny GAN, for runs of about one second."""

from collections.abc import Callable
from pathlib import Path

import pytest

from histosynth.config import Settings, load_settings
from histosynth.store.store import Store
from histosynth.training.data.dataset import PatchDataset
from histosynth.training.gan_task import GanTask
from histosynth.training.launch import launch

MakeStore = Callable[..., Path]
# 4 px for 24 images, faded to 8 px by 48: of twelve steps of eight images, three are at 4 px and three in the fade.
TINY = [
    "model.kind=progan", "gan.latent=8", "gan.width=8", "gan.stable_images=24", "gan.fade_images=24", "gan.lr=0.01",
    "gan.ema_halflife=40", "train.images=96", "train.batch=8", "train.checkpoint_every=32", "train.samples_every=96",
    "train.seed=3", "train.precision=fp32",
]  # fmt: skip


@pytest.fixture
def tiny_settings() -> Settings:
    return load_settings(None, overrides=TINY)


@pytest.fixture
def make_task(make_store: MakeStore, tiny_settings: Settings) -> Callable[..., GanTask]:
    data = PatchDataset(Store(make_store()))

    def make(*overrides: str) -> GanTask:
        return GanTask(data, settings=load_settings(tiny_settings, overrides=overrides), accelerator=launch("cpu"))

    return make
