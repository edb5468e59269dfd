"""A run with random weights: these tests need a network, not a trained one."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from histosynth.config import Settings, load_settings
from histosynth.diffusion.build import build_classifier, build_denoiser, build_schedule
from histosynth.training.checkpoint import save_weights
from histosynth.training.origin import Origin


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Make a run with the labels a, b, c whose network does not predict zero."""

    def make(name: str = "run", *, process: str = "edm", seed: int = 0, overrides: tuple[str, ...] = ()) -> Path:
        settings = tiny(f"diffusion.process={process}", *overrides)
        torch.manual_seed(seed)
        denoiser = build_denoiser(settings.model, settings.diffusion, image_px=16, labels=3)
        return save(tmp_path / name, denoiser, settings)

    return make


@pytest.fixture
def make_classifier(tmp_path: Path) -> Callable[..., Path]:
    """Make a run of a classifier."""

    def make(
        name: str = "classifier",
        *,
        process: str = "edm",
        labels: tuple[str, ...] = ("a", "b", "c"),
        overrides: tuple[str, ...] = (),
    ) -> Path:
        settings = tiny(f"diffusion.process={process}", "train.task=classifier", *overrides)
        torch.manual_seed(1)
        schedule = build_schedule(settings.diffusion)
        classifier = build_classifier(settings.model, schedule, image_px=16, labels=len(labels))
        return save(tmp_path / name, classifier, settings, labels=labels)

    return make


def tiny(*overrides: str) -> Settings:
    model = [
        "model.channels=16", "model.channel_mult=[1,2]", "model.blocks=1", "model.attention_px=[8]", "model.heads=2",
        "sample.steps=3",
    ]  # fmt: skip
    few = ["diffusion.timesteps=40"] if "diffusion.process=ddpm" in overrides else []
    return load_settings(None, overrides=[*model, *few, *overrides])


def save(run: Path, model: nn.Module, settings: Settings, *, labels: tuple[str, ...] = ("a", "b", "c")) -> Path:
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    origin = Origin(
        settings=settings, labels=list(labels), image_px=16, mpp=1.0, run=run.name, images=5, data_hash="abc"
    )
    save_weights(run / "weights" / "ema-5.safetensors", model.state_dict(), origin)
    return run
