"""EDM: a network preconditioned so that its input and target have unit variance at every σ (Karras et al. 2022).

D(x; σ) = c_skip x + c_out F(c_in x; c_noise), table 1. The network receives 1000 · c_noise = 250 ln σ, so that the
noise levels cover the wavelengths of its time embedding.
"""

import torch
from torch import Tensor, nn

from histosynth.diffusion.denoiser import Denoiser, Loss, Prediction, at_least_float32, mean_square, per_image
from histosynth.diffusion.schedule import VarianceExploding


class EDMDenoiser(Denoiser):
    """A denoiser whose network predicts the image at high noise, the noise at low noise, and a mixture in between.

    Args:
        network: has three output channels.
        schedule: the process.
        sigma_data: standard deviation of the data.
        log_sigma_mean: mean of ln σ in training.
        log_sigma_std: standard deviation of ln σ in training.
        image_px: see `Denoiser`.
    """

    schedule: VarianceExploding

    def __init__(
        self,
        network: nn.Module,
        schedule: VarianceExploding,
        *,
        sigma_data: float = 0.5,
        log_sigma_mean: float = -1.2,
        log_sigma_std: float = 1.2,
        image_px: int | None = None,
    ) -> None:
        super().__init__(network, schedule, image_px=image_px)
        self.sigma_data, self.log_sigma_mean, self.log_sigma_std = sigma_data, log_sigma_mean, log_sigma_std

    def evaluate(self, x: Tensor, t: Tensor, label: Tensor) -> Prediction:
        """See `Denoiser.evaluate`; `t` is σ."""
        return Prediction(self._clean(at_least_float32(x), t, label))

    def draw_times(self, count: int, *, generator: torch.Generator) -> Tensor:
        """Draw σ log-normally."""
        return (self.log_sigma_mean + self.log_sigma_std * torch.randn(count, generator=generator)).exp()

    def loss_at(self, x0: Tensor, label: Tensor, *, t: Tensor, noise: Tensor) -> Loss:
        """Compute (σ² + σ_data²) / (σ σ_data)² · mean (D - x_0)²."""
        self.check(x0, t, label)
        x0 = at_least_float32(x0)
        unweighted = mean_square(self._clean(x0 + per_image(t) * noise, t, label) - x0)
        return Loss((t**2 + self.sigma_data**2) / (t * self.sigma_data) ** 2 * unweighted, unweighted)

    def _clean(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        total = t**2 + self.sigma_data**2
        residual = at_least_float32(self.network(per_image(total.rsqrt()) * x, 250 * t.log(), label))
        skip, out = self.sigma_data**2 / total, t * self.sigma_data * total.rsqrt()
        return per_image(skip) * x + per_image(out) * residual
