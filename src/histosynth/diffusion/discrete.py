"""Denoisers of a discrete variance-preserving process (Ho et al. 2020), with what grew on it since.

The network predicts ε, x_0 or v (`parameterization`), its square error is weighted by noise level (`weighting`), and
the variance of an ancestral step is fixed or learned. A learned one takes three more channels and the hybrid loss of
Nichol & Dhariwal 2021,

    L = w · MSE + 0.001 · T · L_{t-1},

L_{t-1} being the term of the variational bound in bits a dimension, T times it an estimate of the whole bound at a
random t (so that at T = 1000 the second summand is L_{t-1} itself, as in ADM). The term teaches the variance alone: no
gradient goes through its mean; and no weighting touches it (Choi et al. 2022 weigh the first summand).
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
    """The network is told the timestep counted from 0, as the ADM networks are.

    Args:
        network: with three channels of output, or six for a learned variance: the second three are -1 at the small and
            1 at the large one.
        schedule: the process.
        prediction_type: what the network predicts.
        variance: of an ancestral step.
        weighting: of the square error of what is predicted.
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
            raise ValueError("a schedule that ends without signal: its noise does not tell the image, predict v or x0")
        super().__init__(network, schedule, image_px=image_px)
        self.prediction_type, self.variance, self.weighting = prediction_type, variance, weighting
        self.posterior = Posterior(schedule)

    def predict(self, x: Tensor, t: Tensor, label: Tensor) -> Prediction:
        """See `Denoiser.predict`."""
        self.check(x, t, label)
        x = at_least_float32(x)
        answer, share = self._ask(x, t, label)
        alpha, sigma = per_image(self.schedule.alpha(t)), per_image(self.schedule.sigma(t))
        clean = clean_from_output(self.prediction_type, answer, x=x, alpha=alpha, sigma=sigma)
        if self.variance == "large":
            share = torch.ones_like(clean)
        return Prediction(clean, None if share is None else share.clamp(0, 1))

    def draw_times(self, count: int, *, generator: torch.Generator) -> Tensor:
        """Uniform on 1 … T."""
        return torch.randint(1, self.schedule.timesteps + 1, (count,), generator=generator).float()

    def loss_at(self, x0: Tensor, label: Tensor, *, t: Tensor, noise: Tensor) -> Loss:
        """w(SNR_t) · mean square error of what is predicted, and the variational term where the variance is learned."""
        self.check(x0, t, label)
        x0 = at_least_float32(x0)
        alpha, sigma = per_image(self.schedule.alpha(t)), per_image(self.schedule.sigma(t))
        x = alpha * x0 + sigma * noise
        answer, share = self._ask(x, t, label)
        plain = mean_square(
            answer - training_target(self.prediction_type, x0=x0, noise=noise, alpha=alpha, sigma=sigma)
        )
        weighted = self.weighting((alpha / sigma).flatten() ** 2, self.prediction_type) * plain
        if share is not None:
            clean = clean_from_output(self.prediction_type, answer.detach(), x=x, alpha=alpha, sigma=sigma)
            bits = step_bits_per_dim(self.posterior, x0=x0, x=x, t=t, clean=clean, share=share)
            weighted = weighted + 0.001 * self.schedule.timesteps * bits
        return Loss(weighted, plain)

    def _ask(self, x: Tensor, t: Tensor, label: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the network predicts, and its share of the variance, unclipped."""
        out = at_least_float32(self.network(x, t - 1, label))
        channels = 6 if self.variance == "learned" else 3
        if out.shape[1] != channels:
            raise ValueError(
                f"the network answers {out.shape[1]} channels; variance '{self.variance}' takes {channels}"
            )
        if self.variance != "learned":
            return out, None
        answer, share = out.chunk(2, dim=1)
        return answer, (share + 1) / 2
