"""Rectified flow: x_t = (1 - t) x_0 + t ε, and the network predicts the velocity v = dx_t / dt = ε - x_0 of the path.

Liu et al. 2022; Lipman et al. 2023. x̂_0 = x_t - t v̂, so the loss of the velocity is t^-2 times that of x_0. Training
times are uniform, or logit-normal, which favors the middle of the path (Esser et al. 2024, eq. 19, with m = 0, s = 1).
The network receives 1000 t, so that the times cover the wavelengths of its time embedding.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from histosynth.diffusion.denoiser import Denoiser, Loss, Prediction, at_least_float32, mean_square, per_image
from histosynth.diffusion.schedule import RectifiedFlow

Times = Literal["uniform", "logit_normal"]


class FlowDenoiser(Denoiser):
    """A denoiser whose network predicts the velocity.

    Args:
        network: has three output channels.
        schedule: the process.
        times: distribution of the training times.
        image_px: see `Denoiser`.
    """

    schedule: RectifiedFlow

    def __init__(
        self,
        network: nn.Module,
        schedule: RectifiedFlow,
        *,
        times: Times = "logit_normal",
        image_px: int | None = None,
    ) -> None:
        super().__init__(network, schedule, image_px=image_px)
        self.times = times

    def evaluate(self, x: Tensor, t: Tensor, label: Tensor) -> Prediction:
        """See `Denoiser.evaluate`."""
        return Prediction(at_least_float32(x) - per_image(t) * self._velocity(at_least_float32(x), t, label))

    def draw_times(self, count: int, *, generator: torch.Generator) -> Tensor:
        """Draw times uniformly from [0, 1), or as the logistic function of a standard normal."""
        if self.times == "uniform":
            return torch.rand(count, generator=generator)
        return torch.randn(count, generator=generator).sigmoid()

    def loss_at(self, x0: Tensor, label: Tensor, *, t: Tensor, noise: Tensor) -> Loss:
        """Compute mean (v̂ - (ε - x_0))², unweighted."""
        self.check(x0, t, label)
        x0 = at_least_float32(x0)
        x = per_image(1 - t) * x0 + per_image(t) * noise
        loss = mean_square(self._velocity(x, t, label) - (noise - x0))
        return Loss(loss, loss)

    def _velocity(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        return at_least_float32(self.network(x, 1000 * t, label))
