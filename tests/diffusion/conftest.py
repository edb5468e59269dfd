"""Fixtures of the diffusion tests: a network with a given output, one schedule of each kind, Gaussian data."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from histosynth.diffusion.denoiser import Prediction
from histosynth.diffusion.samplers import Denoise
from histosynth.diffusion.schedule import RectifiedFlow, Schedule, VarianceExploding, cosine, linear, zero_terminal_snr


class ConstantNetwork(nn.Module):
    """A network that returns a given output and records its calls."""

    null_label = 3

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output
        self.calls: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        self.calls.append((x, time, label))
        return self.output


@pytest.fixture
def constant_network() -> Callable[[Tensor], ConstantNetwork]:
    torch.manual_seed(0)
    return ConstantNetwork


SCHEDULES = {
    "linear": linear(1000),
    "cosine": cosine(1000),
    "zero_snr": zero_terminal_snr(linear(1000)),
    "karras": VarianceExploding(),
    "flow": RectifiedFlow(),
}


@pytest.fixture(params=SCHEDULES.values(), ids=SCHEDULES)
def schedule(request: pytest.FixtureRequest) -> Schedule:
    return request.param


class Gaussian(NamedTuple):
    """Data ~ N(mean, covariance) over the three channels of one pixel."""

    mean: Tensor
    covariance: Tensor

    def optimal(self, schedule: Schedule) -> Denoise:
        """E[x_0 | x_t]: m + α C (α² C + σ² I)^-1 (x - α m)."""

        def denoise(x: Tensor, t: Tensor) -> Prediction:
            alpha, sigma = schedule.alpha(t), schedule.sigma(t)
            gain = alpha * self.covariance @ torch.linalg.inv(alpha**2 * self.covariance + sigma**2 * torch.eye(3))
            return Prediction((self.mean + (x[:, :, 0, 0] - alpha * self.mean) @ gain.T)[:, :, None, None])

        return denoise

    def exact_path(self, schedule: Schedule, noise: Tensor) -> Tensor:
        """Return the image of the noise under the probability flow: each principal component keeps its quantile."""
        t = schedule.times(1)[0].double()
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        values, axes = torch.linalg.eigh(self.covariance)
        scale = (values / (alpha**2 * values + sigma**2)).sqrt()
        start = sigma * noise[:, :, 0, 0] - alpha * self.mean
        return (self.mean + (start @ axes * scale) @ axes.T)[:, :, None, None]


@pytest.fixture
def gaussian() -> Gaussian:
    """Elongated and rotated like the colors of stained tissue: standard deviations 0.7, 0.2, 0.05."""
    axes = torch.linalg.qr(torch.tensor([[1.0, 0.2, 0.5], [0.8, -1.0, 0.1], [0.3, 0.4, 1.0]], dtype=torch.float64))[0]
    return Gaussian(
        torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64),
        axes @ torch.diag(torch.tensor([0.7, 0.2, 0.05]).double() ** 2) @ axes.T,
    )
