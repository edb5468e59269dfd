"""Denoisers of a discrete variance-preserving process (Ho et al. 2020) and its later variants.

The network predicts ε, x_0 or v (`parameterization`), its square error is weighted by noise level (`weighting`), and
the variance of an ancestral step is fixed or learned. A learned variance uses three more channels and the hybrid loss
of Nichol & Dhariwal 2021,

    L = w · MSE + 0.001 · T · L_{t-1},

where L_{t-1} is the term of the variational bound in bits per dimension. T · L_{t-1} at a random t estimates the whole
bound (at T = 1000 the second summand is L_{t-1} itself, as in ADM). This term trains the variance only: no gradient
passes through its mean. It is not weighted (Choi et al. 2022 weight the first summand).
"""

from typing import Literal

import torch
from torch import Tensor, nn

from histosynth.diffusion.denoiser import Denoiser, Loss, Prediction, at_least_float32, mean_square, per_image
from histosynth.diffusion.parameterization import PredictionType, clean_from_output, training_target
from histosynth.diffusion.schedule import VariancePreserving
from histosynth.diffusion.variational import Posterior, step_bits_per_dim
from histosynth.diffusion.weighting import Weighting, uniform

Variance = Literal["small", "large", "learned"]


class DiscreteDenoiser(Denoiser):
    """A denoiser whose network receives timesteps counted from 0, like the ADM networks.

    Args:
        network: has three output channels, or six with a learned variance: the last three are -1 for the small
            variance and 1 for the large one.
        schedule: the process.
        prediction_type: what the network predicts.
        variance: variance of an ancestral step.
        weighting: weighting of the square error of the prediction.
        image_px: see `Denoiser`.
    """

    schedule: VariancePreserving

    def __init__(
        self,
        network: nn.Module,
        schedule: VariancePreserving,
        *,
        prediction_type: PredictionType = "epsilon",
        variance: Variance = "small",
        weighting: Weighting = uniform,
        image_px: int | None = None,
    ) -> None:
        if prediction_type == "epsilon" and schedule.alpha_bars[-1] == 0:
            raise ValueError(
                "the schedule ends without signal, where the image cannot be computed from the noise; predict v or x0"
            )
        super().__init__(network, schedule, image_px=image_px)
        self.prediction_type, self.variance, self.weighting = prediction_type, variance, weighting
        self.posterior = Posterior(schedule)

    def evaluate(self, x: Tensor, t: Tensor, label: Tensor) -> Prediction:
        """See `Denoiser.evaluate`."""
        x = at_least_float32(x)
        output, fraction = self._run_network(x, t, label)
        alpha, sigma = per_image(self.schedule.alpha(t)), per_image(self.schedule.sigma(t))
        clean = clean_from_output(self.prediction_type, output, x=x, alpha=alpha, sigma=sigma)
        if self.variance == "large":
            fraction = torch.ones_like(clean)
        return Prediction(clean, None if fraction is None else fraction.clamp(0, 1))

    def draw_times(self, count: int, *, generator: torch.Generator) -> Tensor:
        """Draw times uniformly from 1 … T."""
        return torch.randint(1, self.schedule.timesteps + 1, (count,), generator=generator).float()

    def loss_at(self, x0: Tensor, label: Tensor, *, t: Tensor, noise: Tensor) -> Loss:
        """Compute w(SNR_t) · MSE of the prediction, plus the variational term if the variance is learned."""
        self.check(x0, t, label)
        x0 = at_least_float32(x0)
        alpha, sigma = per_image(self.schedule.alpha(t)), per_image(self.schedule.sigma(t))
        x = alpha * x0 + sigma * noise
        output, fraction = self._run_network(x, t, label)
        target = training_target(self.prediction_type, x0=x0, noise=noise, alpha=alpha, sigma=sigma)
        unweighted = mean_square(output - target)
        weighted = self.weighting((alpha / sigma).flatten() ** 2, self.prediction_type) * unweighted
        if fraction is not None:
            clean = clean_from_output(self.prediction_type, output.detach(), x=x, alpha=alpha, sigma=sigma)
            bits = step_bits_per_dim(self.posterior, x0=x0, x=x, t=t, clean=clean, variance_fraction=fraction)
            weighted = weighted + 0.001 * self.schedule.timesteps * bits
        return Loss(weighted, unweighted)

    def _run_network(self, x: Tensor, t: Tensor, label: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the network's prediction and, if learned, its variance fraction before clipping."""
        output = at_least_float32(self.network(x, t - 1, label))
        channels = 6 if self.variance == "learned" else 3
        if output.shape[1] != channels:
            raise ValueError(
                f"the network has {output.shape[1]} output channels; variance '{self.variance}' needs {channels}"
            )
        if self.variance != "learned":
            return output, None
        prediction, fraction = output.chunk(2, dim=1)
        return prediction, (fraction + 1) / 2
