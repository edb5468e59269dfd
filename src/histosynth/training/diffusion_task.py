"""Training of a denoiser."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from histosynth.config import Settings, TrainSettings
from histosynth.diffusion.build import build_denoiser
from histosynth.diffusion.mixture import Mixture
from histosynth.diffusion.mixture_denoiser import MixtureDenoiser
from histosynth.diffusion.mixture_fit import fit_mixture
from histosynth.diffusion.noise import SeededNoise
from histosynth.diffusion.pipeline import SamplingPipeline
from histosynth.training.data.dataset import PatchDataset, to_bytes
from histosynth.training.model_task import Images, ModelTask
from histosynth.training.preview import generate_preview
from histosynth.training.throughput import training_flop

_EARLY = 0.2  # share of training; an eighth was too early on osteosarcoma, a quarter worked as well
_FITTED = 20_000  # largest number of patches that a mixture is fitted to
_FITTED_AT_ONCE = 256


class DiffusionTask(ModelTask):
    """A denoiser in training.

    Args:
        data: the patches.
        settings: sections `model`, `diffusion`, `train` and `sample` (for previews).
        accelerator: the processes.
    """

    def __init__(self, data: PatchDataset, *, settings: Settings, accelerator: Accelerator) -> None:
        torch.manual_seed(settings.train.seed)
        self.denoiser = build_denoiser(
            settings.model, settings.diffusion, image_px=data.image_px, labels=len(data.labels)
        )
        if isinstance(self.denoiser, MixtureDenoiser):
            _fit(self.denoiser.mixture, data, settings.train)
        plain = settings.sample.model_copy(update={"autoguidance": 1.0})  # a preview is of one set of weights
        self.pipeline = SamplingPipeline(plain, self.denoiser.schedule)
        super().__init__(data, self.denoiser, settings=settings, accelerator=accelerator)

    @property
    def flop_per_image(self) -> float:
        """See `Task.flop_per_image`."""
        return training_flop(self.denoiser, image_px=self.data.image_px)

    @property
    def snapshot_at(self) -> int:
        """See `Task.snapshot_at`; the early weights are for autoguidance (`guidance`)."""
        return max(round(_EARLY * self.images), 1)

    def draw_times(self, count: int, *, generator: torch.Generator) -> Tensor:
        """See `ModelTask.draw_times`."""
        return self.denoiser.draw_times(count, generator=generator)

    def training_label(self, label: Tensor, *, generators: Sequence[torch.Generator]) -> Tensor:
        """See `ModelTask.training_label`; some labels are replaced by the null label."""
        uniform = torch.cat([torch.rand(1, generator=generator) for generator in generators])
        return label.masked_fill(uniform < self.settings.train.label_drop, self.denoiser.null_label)

    def losses(self, images: Images) -> tuple[Tensor, dict[str, Tensor]]:
        """See `ModelTask.losses`."""
        return self.denoiser.loss_at(images.x, images.label, t=images.t, noise=images.noise).weighted, {}

    def preview(self, per_label: int = 6) -> dict[str, NDArray[np.uint8]]:
        """See `Task.preview`."""
        return generate_preview(
            self._generate, labels=self.data.labels, per_label=per_label, accelerator=self.accelerator
        )

    @torch.no_grad()
    def _generate(self, batches: Sequence[range]) -> list[NDArray[np.uint8]]:
        """Generate images from these seeds with the averaged weights, one array per batch."""
        labels, generated = len(self.data.labels), []
        current = {name: value.clone() for name, value in self.denoiser.state_dict().items()}
        self.denoiser.load_state_dict(self.emas[0].weights)
        self.denoiser.eval()
        for seeds in batches:
            noise = SeededNoise(seeds, image_px=self.data.image_px, device=self.device)
            label = torch.tensor([seed % labels for seed in seeds], device=self.device)
            with self.accelerator.autocast(), self.uncompiled():
                generated.append(to_bytes(self.pipeline.images(self.denoiser, label, noise=noise)))
        self.denoiser.load_state_dict(current)
        return generated


def _fit(mixture: Mixture, data: PatchDataset, train: TrainSettings) -> None:
    """Fit the mixture to the training patches, each as often as training shows it."""
    count = min(len(data), _FITTED)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, count, _FITTED_AT_ONCE):
            yield data.batch(start, min(_FITTED_AT_ONCE, count - start), seed=train.seed)

    generator = torch.Generator().manual_seed(train.seed)
    fit_mixture(mixture, batches, generator=generator, transposed=train.flips)
