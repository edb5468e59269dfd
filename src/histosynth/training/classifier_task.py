"""Training of a classifier of noisy patches, which guides a denoiser of the same process."""

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from histosynth.config import Settings
from histosynth.diffusion.build import build_classifier, build_schedule
from histosynth.errors import HistosynthError
from histosynth.training.data.dataset import PatchDataset
from histosynth.training.model_task import Images, ModelTask


class ClassifierTask(ModelTask):
    """A classifier in training; besides the loss, it logs the accuracy over all noise levels.

    Args:
        data: the patches.
        settings: sections `model`, `diffusion` (the process) and `train`.
        accelerator: the processes.

    Raises:
        HistosynthError: there is only one label.
    """

    def __init__(self, data: PatchDataset, *, settings: Settings, accelerator: Accelerator) -> None:
        if len(data.labels) < 2:
            raise HistosynthError(
                f"a classifier needs at least two labels, but all patches are '{data.labels[0]}'; "
                "add patches with another label"
            )
        torch.manual_seed(settings.train.seed)
        schedule = build_schedule(settings.diffusion)
        self.classifier = build_classifier(settings.model, schedule, image_px=data.image_px, labels=len(data.labels))
        super().__init__(data, self.classifier, settings=settings, accelerator=accelerator)

    def draw_times(self, count: int, *, generator: torch.Generator) -> Tensor:
        """See `ModelTask.draw_times`."""
        return self.classifier.draw_times(count, generator=generator)

    def losses(self, images: Images) -> tuple[Tensor, dict[str, Tensor]]:
        """See `ModelTask.losses`."""
        losses, correct = self.classifier.loss_at(images.x, images.label, t=images.t, noise=images.noise)
        return losses, {"accuracy": correct.float()}

    def preview(self, per_label: int = 6) -> dict[str, NDArray[np.uint8]]:
        """Return nothing: a classifier generates no images."""

        return {}
