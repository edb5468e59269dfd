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
from histosynth.sampling.batch_size import BatchSize, PickBatch
from histosynth.sampling.fixed_batch import FixedBatch, FixedBatchGuide, autocast_to, padded_groups
from histosynth.sampling.made_with import BATCH, sha256_of
from histosynth.sampling.precision import TYPES, pick_precision
from histosynth.training.checkpoint import find_early, find_weights, load_classifier, load_denoiser, load_generator
from histosynth.training.network_cost import Module, evaluation_on_meta, on_meta
from histosynth.training.origin import Origin, read_origin


class GenerativeModel(Protocol):
    """A trained model, ready to generate images.

    Attributes:
        origin: provenance and settings of its weights.
        evaluations: network evaluations per image.
        batch: images per call of `images`, and per evaluation of the network.
        description: sampler or model, as the text in each image states it.
    """

    origin: Origin
    evaluations: int
    batch: BatchSize
    description: str

    def made_with(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Return everything that determines the images: the given `facts` about the weights, and the settings."""

    def images(self, seeds: Sequence[int], label: Tensor) -> Tensor:
        """Return one image per seed, of the given labels: (B, 3, S, S), roughly in [-1, 1]."""


def load_generative_model(
    weights: Path, settings: SampleSettings, *, device: torch.device, pick_batch: PickBatch
) -> GenerativeModel:
    """Load the model of a weights file, set up for sampling with the given settings.

    Args:
        weights: the weights file.
        settings: sample settings.
        device: the device.
        pick_batch: see `batch_size.pick_batch_size`.

    Raises:
        HistosynthError: the weights, the settings or the classifier do not match; the device lacks the precision.
    """
    generator = read_origin(weights).settings.model_role == "generator"
    return (GanModel if generator else DiffusionModel)(weights, settings, device=device, pick_batch=pick_batch)


class DiffusionModel:
    """A denoiser, which generates an image from noise in several steps."""

    def __init__(self, weights: Path, settings: SampleSettings, *, device: torch.device, pick_batch: PickBatch) -> None:
        # The networks, on the CPU until all settings have been accepted.
        denoiser, self.origin = load_denoiser(weights)
        self._settings, self._device = settings, device
        self._pipeline = SamplingPipeline(settings, denoiser.schedule)
        self._precision = pick_precision(settings.precision, device)
        classifier, self._classifier_sha256 = None, None
        if settings.classifier:
            path = find_weights(Path(settings.classifier))
            classifier, self._classifier_sha256 = load_classifier(path, guides=self.origin), sha256_of(path)
        early, self._early_sha256 = None, None
        self.evaluations = self._pipeline.evaluations
        self.description = f"{settings.sampler}, {settings.steps} steps, guidance {settings.guidance}"
        if settings.autoguidance != 1:
            path = find_early(weights)
            (early, _), self._early_sha256 = load_denoiser(path), sha256_of(path)
            self.description += f", autoguidance {settings.autoguidance}"
        # The networks on the device, in batches of one size.
        self.batch = pick_batch(evaluation_on_meta(denoiser, image_px=self.origin.image_px, classifier=classifier))
        group, dtype = self.batch.evaluation, TYPES[self._precision]
        self._denoiser = FixedBatch(_placed(denoiser, device), group=group, dtype=dtype)
        self._early = early and FixedBatch(_placed(early, device), group=group, dtype=dtype)
        self._classifier = classifier and FixedBatchGuide(_placed(classifier, device), group=group, dtype=dtype)

    def made_with(self, facts: dict[str, Any]) -> dict[str, Any]:
        """See `GenerativeModel.made_with`."""
        settings = self._settings.model_dump(exclude={"batch", "precision", "classifier", "autoguidance"})
        made = {**settings, **facts, "classifier_sha256": self._classifier_sha256}
        made |= {"precision": self._precision, BATCH: self.batch.evaluation}
        if self._early_sha256 is not None:  # stores without autoguidance have no such entry
            made |= {"autoguidance": self._settings.autoguidance, "early_sha256": self._early_sha256}
        return made

    def images(self, seeds: Sequence[int], label: Tensor) -> Tensor:
        """See `GenerativeModel.images`."""
        noise = SeededNoise(seeds, image_px=self.origin.image_px, device=self._device)
        return self._pipeline.images(self._denoiser, label, noise=noise, classifier=self._classifier, early=self._early)


class GanModel:
    """The generator of a progressive GAN, at the growth of its weights; it generates an image in one pass."""

    def __init__(self, weights: Path, settings: SampleSettings, *, device: torch.device, pick_batch: PickBatch) -> None:
        for key, value, default in settings.non_default(sorted(NOT_APPLICABLE_TO["progan"]["sample"])):
            raise HistosynthError(
                f"{weights} holds a progan, which generates images in one pass: sample.{key} = {value} does not "
                f"apply; leave it at {default}"
            )
        generator, self.origin = load_generator(weights)
        gan, self._device, self._precision = (
            self.origin.settings.gan,
            device,
            pick_precision(settings.precision, device),
        )
        self._growth = growth_at(self.origin.images, gan, image_px=self.origin.image_px)

        def run(images: int) -> object:
            z, label = (torch.zeros(images, generator.latent), torch.zeros(images, dtype=torch.int64))
            return on_meta(generator).images(z.to("meta"), label.to("meta"), growth=self._growth)

        self.batch = pick_batch(run)
        self._generator = generator.to(device).to(memory_format=torch.channels_last)
        self.evaluations, self.description = 1, f"progan, one pass at {self._growth.px} px"

    def made_with(self, facts: dict[str, Any]) -> dict[str, Any]:
        """See `GenerativeModel.made_with`."""
        made = {"model": "progan", "grown_px": self._growth.px, **facts}
        return made | {"precision": self._precision, BATCH: self.batch.evaluation}

    def images(self, seeds: Sequence[int], label: Tensor) -> Tensor:
        """See `GenerativeModel.images`."""
        z = seeded_latents(seeds, size=self._generator.latent).to(self._device)
        groups = padded_groups(self.batch.evaluation, z, label)
        with autocast_to(TYPES[self._precision], self._device):
            images = [self._generator.images(*pair, growth=self._growth) for pair in groups]
        return torch.cat(images)[: len(seeds)].float()


def _placed(module: Module, device: torch.device) -> Module:
    return module.to(device).to(memory_format=torch.channels_last)
