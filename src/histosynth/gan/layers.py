"""What both networks of a progressive GAN are built of (Karras et al. 2018, sections 3 and 4).

Equalized learning rate: weights are drawn from N(0, 1) and scaled in every pass, ŵ = w g / √fan_in (He's constant, gain
g), so that Adam's steps, which do not depend on the scale of a gradient, are as large for every layer. Pixel norm:
b = a / √(mean_c a_c² + 1e-8). Minibatch standard deviation: how much images of a group differ, as one more channel.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STDDEV_GROUP = 4
"""Consecutive images that are compared by `minibatch_stddev`; a batch cut between groups gives the same."""

_EPSILON = 1e-8


class EqualizedConv(nn.Module):
    """A convolution of odd `kernel` that keeps the side; `gain` is √2 before a rectifier, 1 without."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, gain: float = math.sqrt(2)) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = gain / math.sqrt(inputs * kernel**2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, S, S) -> (B, outputs, S, S)."""
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.weight.shape[-1] // 2)


class EqualizedLinear(nn.Module):
    """A fully connected layer; see `EqualizedConv`."""

    def __init__(self, inputs: int, outputs: int, *, gain: float = math.sqrt(2), bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale = gain / math.sqrt(inputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs) -> (B, outputs)."""
        return F.linear(x, self.weight * self.scale, self.bias)


class EqualizedEmbedding(nn.Module):
    """A vector a label, `scale` times what is learned."""

    def __init__(self, labels: int, size: int, *, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(labels, size))
        self.scale = scale

    def forward(self, label: Tensor) -> Tensor:
        """(B,) -> (B, size)."""
        return F.embedding(label, self.weight) * self.scale


def leaky_relu(x: Tensor) -> Tensor:
    """Leaky rectifier of slope 0.2."""
    return F.leaky_relu(x, 0.2)


def pixel_norm(x: Tensor) -> Tensor:
    """Every pixel's vector of channels (dimension 1) to a mean square of 1."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + _EPSILON)


def minibatch_stddev(x: Tensor) -> Tensor:
    """(B, C, S, S) -> (B, C + 1, S, S): the standard deviation over each group, averaged over channels and pixels.

    B is a multiple of `STDDEV_GROUP`, or less than it: then all are one group.
    """
    size = min(STDDEV_GROUP, len(x))
    variance = x.reshape(-1, size, *x.shape[1:]).var(1, correction=0)
    deviation = (variance + _EPSILON).sqrt().mean((1, 2, 3)).repeat_interleave(size)
    return torch.cat([x, deviation.to(x.dtype).view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])], 1)


def upsample(x: Tensor, factor: int = 2) -> Tensor:
    """Every pixel as a square of `factor`² of them."""
    return F.interpolate(x, scale_factor=float(factor), mode="nearest") if factor > 1 else x


def downsample(x: Tensor, factor: int = 2) -> Tensor:
    """The mean of every square of `factor`² pixels."""
    return F.avg_pool2d(x, factor) if factor > 1 else x
