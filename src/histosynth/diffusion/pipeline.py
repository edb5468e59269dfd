"""Sampling pipeline: settings are validated once against a process, then used for every batch."""

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
    """Sampler, steps, guidance and clipping, ready to generate images.

    Attributes:
        settings: the sample settings.
        evaluations: evaluations of the denoiser's network per image.

    Args:
        settings: sample settings; `batch` is not used, and the caller loads `classifier` and the early weights.
        schedule: the process.

    Raises:
        HistosynthError: the sampler is unknown or has no η; more steps than the process has; guidance limits that
            leave no guided step.
    """

    def __init__(self, settings: SampleSettings, schedule: Schedule) -> None:
        # Sampler and times
        self.settings, self.schedule = settings, respaced(schedule, settings.spacing)
        self.sampler = pick_sampler(settings.sampler, eta=settings.eta)
        self.low, self.high = settings.guidance_low, settings.guidance_high or math.inf
        try:
            times = self.schedule.times(settings.steps)
        except ValueError as error:
            raise HistosynthError(f"sample.steps: {error}") from error
        # Guidance limits
        if self.low >= self.high:
            raise HistosynthError(
                f"sample.guidance_low = {self.low} is not below sample.guidance_high = {self.high}, so no step is "
                "guided; lower the first or raise the second"
            )
        if not any(in_guidance_interval(schedule, t, low=self.low, high=self.high) for t in times[:-1]):
            raise HistosynthError(
                f"sample.guidance_low = {self.low}, sample.guidance_high = {settings.guidance_high}: none of the "
                f"{settings.steps} steps has a noise level (sigma / alpha) between them; widen the interval"
            )
        # Cost
        per_call = evaluations_per_call(
            schedule,
            guidance=settings.guidance,
            low=self.low,
            high=self.high,
            autoguidance=settings.autoguidance,
        )
        self.evaluations = count_evaluations(self.sampler, self.schedule, steps=settings.steps, per_call=per_call)

    def images(
        self,
        denoiser: Denoiser,
        label: Tensor,
        *,
        noise: SeededNoise,
        classifier: GuidingClassifier | None = None,
        early: Denoiser | None = None,
    ) -> Tensor:
        """Generate one image per `label` (B,): (B, 3, S, S), about [-1, 1].

        Raises:
            ValueError: autoguidance is set, but there is no `early` version of the denoiser.
        """
        settings = self.settings
        if settings.autoguidance != 1 and early is None:
            raise ValueError(f"autoguidance {settings.autoguidance} needs an early version of the denoiser")
        denoise = guided_denoiser(
            denoiser,
            label,
            guidance=settings.guidance,
            low=self.low,
            high=self.high,
            clip=build_clip(settings.clip, percentile=settings.clip_percentile),
            classifier=classifier,
            classifier_scale=settings.classifier_scale,
            early=early,
            autoguidance=settings.autoguidance,
        )
        return self.sampler(denoise, self.schedule, noise=noise.draw(), steps=settings.steps, draw=noise.draw)
