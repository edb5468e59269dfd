"""From sample settings to images: checked once against a process, then used for batch after batch."""

import math

from torch import Tensor

from histosynth.config import SampleSettings
from histosynth.diffusion.denoiser import Denoiser
from histosynth.diffusion.guidance import GuidingClassifier, evaluations_per_call, guided_denoiser, in_guidance_interval
from histosynth.diffusion.noise import SeededNoise
from histosynth.diffusion.samplers import count_evaluations, pick_sampler
from histosynth.diffusion.schedule import Schedule
from histosynth.diffusion.spacing import respaced
from histosynth.diffusion.thresholding import build_clip
from histosynth.errors import HistosynthError


class SamplingPipeline:
    """How an image is made.

    Attributes:
        settings: as given.
        evaluations: of the denoiser's network, an image.

    Args:
        settings: all but `batch`; `classifier` is the caller's to load.
        schedule: the process.

    Raises:
        HistosynthError: an unknown sampler, an η it has not, more steps than the process has, limits of guidance that
            leave no step to guide.
    """

    def __init__(self, settings: SampleSettings, schedule: Schedule) -> None:
        self.settings, self.schedule = settings, respaced(schedule, settings.spacing)
        self.sampler = pick_sampler(settings.sampler, eta=settings.eta)
        self.low, self.high = settings.guidance_low, settings.guidance_high or math.inf
        try:
            times = self.schedule.times(settings.steps)
        except ValueError as error:
            raise HistosynthError(f"sample.steps: {error}") from error
        if self.low >= self.high:
            raise HistosynthError(
                f"sample.guidance_low = {self.low} is not below sample.guidance_high = {self.high}: nothing is guided"
            )
        if not any(in_guidance_interval(schedule, t, low=self.low, high=self.high) for t in times[:-1]):
            raise HistosynthError(
                f"sample.guidance_low = {self.low}, sample.guidance_high = {settings.guidance_high}: none of the "
                f"{settings.steps} steps has a noise level (sigma / alpha) between them; widen them"
            )
        one = evaluations_per_call(schedule, guidance=settings.guidance, low=self.low, high=self.high)
        self.evaluations = count_evaluations(self.sampler, self.schedule, steps=settings.steps, per_call=one)

    def images(
        self, denoiser: Denoiser, label: Tensor, *, noise: SeededNoise, classifier: GuidingClassifier | None = None
    ) -> Tensor:
        """Make an image of each `label` (B,): (B, 3, S, S), about [-1, 1]."""
        settings = self.settings
        denoise = guided_denoiser(
            denoiser,
            label,
            guidance=settings.guidance,
            low=self.low,
            high=self.high,
            clip=build_clip(settings.clip, percentile=settings.clip_percentile),
            classifier=classifier,
            classifier_scale=settings.classifier_scale,
        )
        return self.sampler(denoise, self.schedule, noise=noise.draw(), steps=settings.steps, draw=noise.draw)
