"""Training a denoiser."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from histosynth.config import Settings
from histosynth.diffusion.build import build_denoiser
from histosynth.diffusion.noise import SeededNoise
from histosynth.diffusion.recipe import Recipe
from histosynth.patches.dataset import PatchDataset, to_bytes
from histosynth.training.device import autocast
from histosynth.training.task import Task


class DiffusionTask(Task):
    """A denoiser in training.

    Args:
        data: the patches.
        settings: sections `model`, `diffusion`, `train` and `sample` (for previews).
        device: where to compute.
    """

    def __init__(self, data: PatchDataset, *, settings: Settings, device: torch.device) -> None:
        torch.manual_seed(settings.train.seed)
        self.denoiser = build_denoiser(
            settings.model, settings.diffusion, image_px=data.image_px, labels=len(data.labels)
        )
        self.recipe = Recipe(settings.sample, self.denoiser.schedule)
        super().__init__(data, self.denoiser, settings=settings, device=device)

    def losses(self, x: Tensor, label: Tensor, *, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """See `Task.losses`; some labels become the null label."""
        dropped = torch.rand(len(label), generator=generator) < self.settings.train.label_drop
        label = label.masked_fill(dropped, self.denoiser.null_label).to(self.device)
        return self.denoiser.loss(x, label, generator=generator), {}

    @torch.inference_mode()
    def preview(self, per_label: int = 6) -> dict[str, NDArray[np.uint8]]:
        """A few images a label from the averaged weights, always of the same seeds: label -> (N, S, S, 3)."""
        labels = self.data.labels
        current = {name: value.clone() for name, value in self.denoiser.state_dict().items()}
        self.denoiser.load_state_dict(self.ema.weights)
        self.denoiser.eval()
        seeds = range(per_label * len(labels))
        noise = SeededNoise(seeds, image_px=self.data.image_px, device=self.device)
        label = torch.tensor([seed % len(labels) for seed in seeds], device=self.device)
        with autocast(self.device, self.settings.train.precision):
            x = self.recipe.images(self.denoiser, label, noise=noise)
        self.denoiser.load_state_dict(current)
        images = to_bytes(x)
        return {name: images[i :: len(labels)] for i, name in enumerate(labels)}
