"""EDM with an analytic start: the network corrects the exact denoiser of a mixture of Gaussians fitted to the data.

EDM's own preconditioning (`edm`) is the exact denoiser of white Gaussian data. Tissue has next to no power at high
frequencies, so a network spends its early training on learning to remove noise there. With m and s the posterior mean
and deviation of `mixture`, T its orthonormal transform and F the network, which sees m beside the noisy image,

    D(x; σ) = m + T⁻¹(s · T(F)),

and the loss is whitened by s to the power p, coefficient by coefficient, and divided by what it would be if the data
were the mixture:

    loss = Σ s^(-2p) T(D - x_0)² / Σ s^(2-2p)

p = 0 is EDM's own square error, p = 1 that of F. s depends on the noisy image alone, so no p moves the optimum.
"""

import torch
from torch import Tensor, nn

from histosynth.diffusion.denoiser import Loss, at_least_float32, mean_square, per_image
from histosynth.diffusion.edm import EDMDenoiser
from histosynth.diffusion.mixture import Mixture, Posterior
from histosynth.diffusion.schedule import VarianceExploding


class MixtureDenoiser(EDMDenoiser):
    """EDM denoiser whose network predicts the residual of a mixture.

    Args:
        network: network with six input channels, the image and the posterior mean, and three output channels.
        schedule: the process.
        mixture: mixture for images of the same size.
        whitening: p.
        sigma_data: see `EDMDenoiser`; here it only scales the input.
        log_sigma_mean: see `EDMDenoiser`.
        log_sigma_std: see `EDMDenoiser`.
        image_px: see `Denoiser`.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: VarianceExploding,
        mixture: Mixture,
        *,
        whitening: float = 0.5,
        sigma_data: float = 0.5,
        log_sigma_mean: float = -1.2,
        log_sigma_std: float = 1.2,
        image_px: int | None = None,
    ) -> None:
        super().__init__(
            network,
            schedule,
            sigma_data=sigma_data,
            log_sigma_mean=log_sigma_mean,
            log_sigma_std=log_sigma_std,
            image_px=image_px,
        )
        self.mixture, self.whitening = mixture, whitening

    def loss_at(self, x0: Tensor, label: Tensor, *, t: Tensor, noise: Tensor) -> Loss:
        """Return the whitened loss; `plain` is the mean square error of D."""
        self.check(x0, t, label)
        x0 = at_least_float32(x0)
        posterior, residual = self._ask(x0 + per_image(t) * noise, t, label)
        s = posterior.deviation
        error = s * residual + self.mixture.transform(posterior.mean - x0)  # T is orthonormal: as long as D - x_0
        weighted = (s ** (-2 * self.whitening) * error.square()).flatten(1).sum(1)
        expected = (s ** (2 - 2 * self.whitening)).flatten(1).sum(1)
        return Loss(weighted / expected, mean_square(error))

    def _clean(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        posterior, residual = self._ask(x, t, label)
        return posterior.mean + self.mixture.inverse(posterior.deviation * residual)

    def _ask(self, x: Tensor, t: Tensor, label: Tensor) -> tuple[Posterior, Tensor]:
        """Return the posterior of the mixture, and T(F)."""
        posterior = self.mixture.posterior(x, t, label)
        scale = per_image((t**2 + self.sigma_data**2).rsqrt())
        answer = at_least_float32(self.network(torch.cat([scale * x, posterior.mean], dim=1), 250 * t.log(), label))
        return posterior, self.mixture.transform(answer)
