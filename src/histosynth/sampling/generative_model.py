"""Trained models that generate images from seeds: a denoiser or a GAN, behind one protocol."""

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
from histosynth.training.checkpoint import find_early, find_weights, load_classifier, load_denoiser, load_generator
from histosynth.training.origin import Origin, read_origin


class GenerativeModel(Protocol):
    """A trained model, ready to generate images.

    Attributes:
        origin: provenance and settings of its weights.
        evaluations: network evaluations per image.
        description: sampler or model, as the text in each image states it.
    """

    origin: Origin
    evaluations: int
    description: str

    def made_with(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Return everything that determines the images: the given `facts` about the weights, and the settings."""

    def images(self, seeds: Sequence[int], label: Tensor) -> Tensor:
        """Return one image per seed, of the given labels: (B, 3, S, S), roughly in [-1, 1]."""


def load_generative_model(weights: Path, settings: SampleSettings, *, device: torch.device) -> GenerativeModel:
    """Load the model of a weights file, set up for sampling with the given settings.

    Raises:
        HistosynthError: the weights, the settings or the classifier do not match.
    """
    generator = read_origin(weights).settings.model_role == "generator"
    return (GanModel if generator else DiffusionModel)(weights, settings, device=device)


class DiffusionModel:
    """A denoiser, which generates an image from noise in several steps."""

    def __init__(self, weights: Path, settings: SampleSettings, *, device: torch.device) -> None:
        denoiser, self.origin = load_denoiser(weights)
        self._denoiser = FixedBatch(denoiser.to(device).to(memory_format=torch.channels_last), device=device)
        self._settings, self._device = settings, device
        self._pipeline = SamplingPipeline(settings, self._denoiser.schedule)
        self._classifier, self._classifier_sha256 = None, None
        if settings.classifier:
            path = find_weights(Path(settings.classifier))
            classifier = load_classifier(path, guides=self.origin).to(device).to(memory_format=torch.channels_last)
            self._classifier, self._classifier_sha256 = FixedBatchGuide(classifier, device=device), sha256_of(path)
        self._early, self._early_sha256 = None, None
        self.evaluations = self._pipeline.evaluations
        self.description = f"{settings.sampler}, {settings.steps} steps, guidance {settings.guidance}"
        if settings.autoguidance != 1:
            path = find_early(weights)
            early, _ = load_denoiser(path)
            self._early = FixedBatch(early.to(device).to(memory_format=torch.channels_last), device=device)
            self._early_sha256 = sha256_of(path)
            self.description += f", autoguidance {settings.autoguidance}"

    def made_with(self, facts: dict[str, Any]) -> dict[str, Any]:
        """See `GenerativeModel.made_with`."""
        settings = self._settings.model_dump(exclude={"batch", "classifier", "autoguidance"})
        made = {**settings, **facts, "classifier_sha256": self._classifier_sha256}
        if self._early is not None:  # older stores have no such entry
            made |= {"autoguidance": self._settings.autoguidance, "early_sha256": self._early_sha256}
        return made

    def images(self, seeds: Sequence[int], label: Tensor) -> Tensor:
        """See `GenerativeModel.images`."""
        noise = SeededNoise(seeds, image_px=self.origin.image_px, device=self._device)
        return self._pipeline.images(self._denoiser, label, noise=noise, classifier=self._classifier, early=self._early)


class GanModel:
    """The generator of a progressive GAN, at the growth of its weights; it generates an image in one pass."""

    def __init__(self, weights: Path, settings: SampleSettings, *, device: torch.device) -> None:
        for key, value, default in settings.non_default(sorted(NOT_APPLICABLE_TO["progan"]["sample"])):
            raise HistosynthError(
                f"{weights} holds a progan, which generates images in one pass: sample.{key} = {value} does not "
                f"apply; leave it at {default}"
            )
        generator, self.origin = load_generator(weights)
        self._generator = generator.to(device).to(memory_format=torch.channels_last)
        gan = self.origin.settings.gan
        self._growth, self._device = growth_at(self.origin.images, gan, image_px=self.origin.image_px), device
        self.evaluations, self.description = 1, f"progan, one pass at {self._growth.px} px"

    def made_with(self, facts: dict[str, Any]) -> dict[str, Any]:
        """See `GenerativeModel.made_with`."""
        return {"model": "progan", "grown_px": self._growth.px, **facts}

    def images(self, seeds: Sequence[int], label: Tensor) -> Tensor:
        """See `GenerativeModel.images`."""
        z = seeded_latents(seeds, size=self._generator.latent).to(self._device)
        groups = padded_groups(group_size(self._device), z, label)
        return torch.cat([self._generator.images(*pair, growth=self._growth) for pair in groups])[: len(seeds)]
