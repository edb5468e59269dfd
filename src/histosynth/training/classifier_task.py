"""Training a classifier of noisy patches, to guide a denoiser of the same process."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from histosynth.config import Settings
from histosynth.diffusion.build import build_schedule
from histosynth.diffusion.noisy_classifier import build_classifier
from histosynth.errors import HistosynthError
from histosynth.patches.dataset import PatchDataset
from histosynth.training.task import Task


class ClassifierTask(Task):
    """A classifier in training; beside the loss it logs the share of labels found, over all noise levels.

    Args:
        data: the patches.
        settings: sections `model`, `diffusion` (the process) and `train`.
        device: where to compute.

    Raises:
        HistosynthError: there is one label only.
    """

    def __init__(self, data: PatchDataset, *, settings: Settings, device: torch.device) -> None:
        if len(data.labels) < 2:
            raise HistosynthError(f"a classifier needs two labels or more; all patches are '{data.labels[0]}'")
        torch.manual_seed(settings.train.seed)
        schedule = build_schedule(settings.diffusion)
        self.classifier = build_classifier(settings.model, schedule, image_px=data.image_px, labels=len(data.labels))
        super().__init__(data, self.classifier, settings=settings, device=device)

    def losses(self, x: Tensor, label: Tensor, *, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """See `Task.losses`."""
        losses, found = self.classifier.loss(x, label.to(self.device), generator=generator)
        return losses, {"accuracy": found.float().mean().item()}

    def preview(self) -> dict[str, NDArray[np.uint8]]:
        """A classifier makes no images."""
        return {}
