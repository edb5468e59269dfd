"""How a kind of model makes the images of seeds: behind one face for all."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from histosynth.config import NOT_APPLICABLE_TO, SampleSettings
from histosynth.diffusion.noise import SeededNoise
from histosynth.diffusion.pipeline import SamplingPipeline
from histosynth.errors import HistosynthError
from histosynth.gan.growth import growth_at
from histosynth.gan.progan import seeded_latents
from histosynth.sampling.fixed_batch import FixedBatch, FixedBatchGuide, group_size, padded_groups
from histosynth.sampling.made_with import sha256_of
from histosynth.training.checkpoint import (
    Origin,
    find_weights,
    load_classifier,
    load_denoiser,
    load_generator,
    read_origin,
)


class GenerativeModel(Protocol):
    """A model ready to draw.

    Attributes:
        origin: what its weights say of themselves.
        evaluations: of its network, an image.
        words: how it draws, for the text in each image.
    """

    origin: Origin
    evaluations: int
    words: str

    def made_with(self, facts: dict[str, Any]) -> dict[str, Any]:
        """All that decides the images: these facts of the weights, and the settings."""

    def images(self, seeds: Sequence[int], label: Tensor) -> Tensor:
        """An image a seed, of these labels: (B, 3, S, S), about [-1, 1]."""


def load_generative_model(weights: Path, settings: SampleSettings, *, device: torch.device) -> GenerativeModel:
    """The model of a weights file, as these settings make it draw.

    Raises:
        HistosynthError: the weights, the settings or the classifier do not fit.
    """
    generator = read_origin(weights).settings.model_role == "generator"
    return (GanModel if generator else DiffusionModel)(weights, settings, device=device)


class DiffusionModel:
    """A denoiser, from noise to image in steps."""

    def __init__(self, weights: Path, settings: SampleSettings, *, device: torch.device) -> None:
        denoiser, self.origin = load_denoiser(weights)
        self._denoiser = FixedBatch(denoiser.to(device).to(memory_format=torch.channels_last), device=device)
        self._settings, self._device = settings, device
        self._pipeline = SamplingPipeline(settings, self._denoiser.schedule)
        self._classifier, self._classifier_sha256 = None, None
        if settings.classifier:
            guiding = find_weights(Path(settings.classifier))
            loaded = load_classifier(guiding, guides=self.origin).to(device).to(memory_format=torch.channels_last)
            self._classifier, self._classifier_sha256 = FixedBatchGuide(loaded, device=device), sha256_of(guiding)
        self.evaluations = self._pipeline.evaluations
        self.words = f"{settings.sampler}, {settings.steps} steps, guidance {settings.guidance}"

    def made_with(self, facts: dict[str, Any]) -> dict[str, Any]:
        """See `GenerativeModel.made_with`."""
        chosen = self._settings.model_dump(exclude={"batch", "classifier"})
        return {**chosen, **facts, "classifier_sha256": self._classifier_sha256}

    def images(self, seeds: Sequence[int], label: Tensor) -> Tensor:
        """See `GenerativeModel.images`."""
        noise = SeededNoise(seeds, image_px=self.origin.image_px, device=self._device)
        return self._pipeline.images(self._denoiser, label, noise=noise, classifier=self._classifier)


class GanModel:
    """The generator of a progressive GAN, in one pass, grown as far as its weights are."""

    def __init__(self, weights: Path, settings: SampleSettings, *, device: torch.device) -> None:
        for key, given, default in settings.non_default(sorted(NOT_APPLICABLE_TO["progan"]["sample"])):
            raise HistosynthError(
                f"{weights} holds a progan, which draws in one pass and does not heed sample.{key} = {given}; leave "
                f"it at {default}"
            )
        generator, self.origin = load_generator(weights)
        self._generator = generator.to(device).to(memory_format=torch.channels_last)
        gan = self.origin.settings.gan
        self._growth, self._device = growth_at(self.origin.images, gan, image_px=self.origin.image_px), device
        self.evaluations, self.words = 1, f"progan, one pass at {self._growth.px} px"

    def made_with(self, facts: dict[str, Any]) -> dict[str, Any]:
        """See `GenerativeModel.made_with`."""
        return {"model": "progan", "grown_px": self._growth.px, **facts}

    def images(self, seeds: Sequence[int], label: Tensor) -> Tensor:
        """See `GenerativeModel.images`."""
        z = seeded_latents(seeds, size=self._generator.latent).to(self._device)
        groups = padded_groups(group_size(self._device), z, label)
        return torch.cat([self._generator.images(*pair, growth=self._growth) for pair in groups])[: len(seeds)]
