"""Training loss and gradient of a denoiser by noise level, in bands of SNR = (α / σ)².

Choi et al. 2022 (section 3.2) distinguish three stages by what a network must recover: coarse features (SNR below
0.01), content (0.01 to 1), and the clean-up of imperceptible noise (above 1). The share of the gradient that comes from
each band shows the actual effect of a loss weighting: P2 reduces the share of the clean-up.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from histosynth.diffusion.denoiser import Denoiser, at_least_float32

STAGES = {"coarse": (0.0, 1e-2), "content": (1e-2, 1.0), "clean-up": (1.0, torch.inf)}
"""The stages of Choi et al. 2022 as bands of SNR; theirs end at an SNR of 1e4, where their process begins."""


@dataclass(frozen=True, kw_only=True)
class NoiseBandStatistics:
    """Loss and gradient per band, (K,) float64 on the CPU."""

    count: Tensor
    """Number of images in the band."""
    unweighted: Tensor
    """Mean of the unweighted loss; NaN if the band is empty."""
    weighted: Tensor
    """Mean of the training loss; NaN if the band is empty."""
    gradient_norm: Tensor
    """Norm of the band's contribution to the gradient of the mean weighted loss over all images."""

    @property
    def gradient_share(self) -> Tensor:
        """The gradient norms divided by their sum."""
        return self.gradient_norm / self.gradient_norm.sum()


def loss_by_noise_level(
    denoiser: Denoiser,
    x0: Tensor,
    label: Tensor,
    *,
    times: Tensor,
    generator: torch.Generator,
    bands: Sequence[tuple[float, float]] = tuple(STAGES.values()),
    batch: int = 16,
) -> NoiseBandStatistics:
    """Compute losses and gradient of a denoiser in each band of SNR, without dropout.

    Args:
        denoiser: the model; its weights and their gradients are not changed.
        x0: (B, 3, S, S) images in [-1, 1].
        label: (B,) labels of the images.
        times: (N,) times to evaluate, image i mod B at time i. With times from `denoiser.draw_times` the bands have
            the weight that they have in training. The norm of a gradient includes the noise of its images, so use
            hundreds of times.
        generator: generator of the noise, on the CPU.
        bands: SNR from (inclusive) and to (exclusive).
        batch: images per forward pass.

    Raises:
        ValueError: no times; or a shape, time or label is invalid.
    """
    if not len(times):
        raise ValueError("no times given; pass at least one")
    # Assign times to bands by their SNR
    times = times.to(device=x0.device, dtype=torch.float32)
    snr = (denoiser.schedule.alpha(times) / denoiser.schedule.sigma(times)) ** 2
    snr = snr.nan_to_num(posinf=torch.finfo(snr.dtype).max)  # the data itself, at t = 0 of a flow
    noise_seeds = torch.randint(2**62, (len(times),), generator=generator).tolist()
    weights = [p for p in denoiser.parameters() if p.requires_grad]
    training, rows = denoiser.training, []
    denoiser.eval()
    # Accumulate losses and gradients band by band
    try:
        for low, high in bands:
            in_band = ((snr >= low) & (snr < high)).nonzero().flatten()
            gradients = [torch.zeros_like(p) for p in weights]
            unweighted_sum, weighted_sum = 0.0, 0.0
            for part in torch.split(in_band, batch) if len(in_band) else ():
                images = part % len(x0)
                noise = torch.stack([_noise(noise_seeds[i], x0) for i in part.tolist()])
                with torch.enable_grad():
                    loss = denoiser.loss_at(x0[images], label[images], t=times[part], noise=noise)
                    parts = torch.autograd.grad(loss.weighted.sum() / len(times), weights, allow_unused=True)
                for total, gradient in zip(gradients, parts, strict=True):
                    if gradient is not None:
                        total += gradient
                unweighted_sum += loss.unweighted.sum().item()
                weighted_sum += loss.weighted.sum().item()
            norm = math.sqrt(sum(at_least_float32(g).square().sum().item() for g in gradients))
            size = len(in_band)
            rows.append([size, unweighted_sum / (size or torch.nan), weighted_sum / (size or torch.nan), norm])
    finally:
        denoiser.train(training)
    count, unweighted, weighted, gradient_norm = torch.tensor(rows, dtype=torch.float64).T
    return NoiseBandStatistics(count=count, unweighted=unweighted, weighted=weighted, gradient_norm=gradient_norm)


def _noise(seed: int, x0: Tensor) -> Tensor:
    """Draw the noise of one image from its own seed, so that it does not depend on the bands or the batch."""
    return torch.randn(x0.shape[1:], generator=torch.Generator().manual_seed(seed)).to(at_least_float32(x0))
