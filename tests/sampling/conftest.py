"""A run with random weights: sampling needs a network, not a good one."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from histosynth.config import load_settings
from histosynth.diffusion.build import build_denoiser
from histosynth.training.checkpoint import Origin, save_weights


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Make a run of the labels a, b, c whose network answers something other than zero."""

    def make(name: str = "run", *, process: str = "edm", seed: int = 0) -> Path:
        overrides = [
            "model.channels=16", "model.channel_mult=[1,2]", "model.blocks=1", "model.attention_px=[8]",
            "model.heads=2",            f"diffusion.process={process}", "diffusion.timesteps=40", "sample.steps=3",
        ]  # fmt: skip
        settings = load_settings(None, overrides=overrides)
        torch.manual_seed(seed)
        denoiser = build_denoiser(settings.model, settings.diffusion, image_px=16, labels=3)
        for parameter in denoiser.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.1)
        origin = Origin(
            settings=settings, labels=["a", "b", "c"], image_px=16, mpp=1.0, run=name, images=5, data_hash="abc"
        )
        save_weights(tmp_path / name / "weights" / "ema-5.safetensors", denoiser.state_dict(), origin)
        return tmp_path / name

    return make
