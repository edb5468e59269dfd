"""A mixture of Gaussians over images, and its exact posterior given a noisy image.

Component k of a label has weight π_k and is diagonal in the cosine transform of the image x principal color axes, an
orthonormal basis (`cosine_bands`). Its variance v_k is constant in a band of vertical x horizontal frequencies, and its
mean μ_k is zero except for the mean color. For y = y_0 + σ ε, coefficient by coefficient,

    r_k ∝ π_k N(y; μ_k, v_k + σ²)                              responsibility of component k
    E[y_0 | y] = Σ_k r_k (μ_k + v_k / (v_k + σ²) (y - μ_k))     the denoiser
    s² = Σ_k r_k v_k σ² / (v_k + σ²)                            mean variance of y_0 within a component

The null label stands for all components of all labels.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from histosynth.diffusion.cosine_bands import band_of_coefficient, cosine_basis


class Posterior(NamedTuple):
    """Distribution of the clean image, given the noisy one."""

    mean: Tensor
    """E[x_0 | x_t], (B, 3, S, S)."""
    deviation: Tensor
    """s of each coefficient, (B, 3, S, S)."""


class Mixture(nn.Module):
    """Mixtures of Gaussians, one per label; standard normal until `fit_mixture` fits them.

    Args:
        image_px: side S of the images.
        labels: number of labels K; label K is the null label.
        components: Gaussians per label.

    Attributes:
        axes: (3, 3) principal color axes, one per row.
        log_weight: (K, components) log π over all labels together; far below 0 for a component that is not used.
        mean: (K, components, 3) mean coefficient of the mean color.
        variance: (K, components, 3 x bands x bands).
    """

    axes: Tensor
    log_weight: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(self, *, image_px: int, labels: int, components: int) -> None:
        super().__init__()
        with torch.device("cpu"):  # its values are needed even where a network is built without memory
            band = band_of_coefficient(image_px)
        bands = int(band[-1]) + 1
        self.register_buffer("axes", torch.eye(3))
        self.register_buffer("log_weight", -torch.full((labels, components), labels * components).log())
        self.register_buffer("mean", torch.zeros(labels, components, 3))
        self.register_buffer("variance", torch.ones(labels, components, 3 * bands**2))
        self._band = nn.functional.one_hot(band, bands).double()  # (S, bands)
        self._basis = cosine_basis(image_px)
        self._copies: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor, Tensor]] = {}

    @property
    def count(self) -> Tensor:
        """Coefficients in each band, (bands, bands)."""
        size = self._band.sum(0)
        return size[:, None] * size

    def transform(self, x: Tensor) -> Tensor:
        """Return the coefficients of images, both (B, 3, S, S)."""
        basis, _, _ = self._constants(x)
        with _full_precision(x):
            y: Tensor = basis @ torch.einsum("ac,bcij->baij", self.axes.to(x.dtype), x) @ basis.T
        return y

    def inverse(self, y: Tensor) -> Tensor:
        """Return the images of coefficients, both (B, 3, S, S)."""
        basis, _, _ = self._constants(y)
        with _full_precision(y):
            x: Tensor = torch.einsum("ac,baij->bcij", self.axes.to(y.dtype), basis.T @ y @ basis)
        return x

    def energy(self, y: Tensor) -> Tensor:
        """Return the sum of squares of coefficients (B, 3, S, S) in each band, (B, 3, bands, bands)."""
        _, band, _ = self._constants(y)
        with _full_precision(y):
            energy: Tensor = band.T @ y.square() @ band
        return energy

    def posterior(self, x: Tensor, sigma: Tensor, label: Tensor) -> Posterior:
        """Return the posterior of noisy images `x` (B, 3, S, S) at noise `sigma` (B,), given `label` (B,)."""
        y, labels = self.transform(x), len(self.log_weight)
        _, band, size = self._constants(y)
        weight = self.log_weight.to(y).expand(len(x), -1, -1)
        others = (label[:, None] != torch.arange(labels, device=x.device)) & (label[:, None] != labels)
        weight = weight.masked_fill(others[..., None], -torch.inf).flatten(1)  # (B, K x components)
        mean, variance = self.mean.to(y).flatten(0, 1), self.variance.to(y).flatten(0, 1)
        with _full_precision(y):
            spread = variance + sigma[:, None, None].to(y).square()  # (B, K x components, 3 x bands x bands)
            gain = variance / spread
            offset = y[:, None, :, 0, 0] - mean
            energy = self.energy(y)
            energy[:, :, 0, 0] = 0  # the band of the mean color counts from each component's mean
            distance = (energy.flatten(1)[:, None] @ (1 / spread).mT)[:, 0]
            distance = distance + (offset.square() / self._first(spread)).sum(2)
            share = (weight - (distance + spread.log() @ size) / 2).softmax(1)[:, None]  # responsibilities
            color = (share @ (mean + self._first(gain) * offset))[:, 0]
            gain = band @ (share @ gain).view(-1, 3, *self.count.shape) @ band.T
            estimate = gain * y
            estimate[:, :, 0, 0] = color
        return Posterior(self.inverse(estimate), sigma[:, None, None, None].to(y) * gain.sqrt())

    def _first(self, values: Tensor) -> Tensor:
        """Select the values of the mean color, (..., 3), from those of all bands, (..., 3 x bands x bands)."""
        first: Tensor = values.view(*values.shape[:-1], 3, -1)[..., 0]
        return first

    def _constants(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return basis, bands, and coefficients per band and color, with the type and device of `x`."""
        key = x.device, x.dtype
        if key not in self._copies:
            values = self._basis, self._band, self.count.expand(3, -1, -1).flatten()
            with torch.inference_mode(False):  # training may use them later
                basis, band, size = (value.to(x.dtype).to(x.device) for value in values)
            self._copies[key] = basis, band, size
        return self._copies[key]


def _full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Disable autocast, which the meta device does not have: noise levels of 0.002 need more than eight bits."""
    return torch.autocast(x.device.type, enabled=False) if x.device.type != "meta" else nullcontext()
