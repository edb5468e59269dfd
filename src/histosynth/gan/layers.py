"""Layers shared by both networks of a progressive GAN (Karras et al. 2018, sections 3 and 4).

Equalized learning rate: weights are drawn from N(0, 1) and scaled in each pass, ŵ = w g / √fan_in (He's constant, gain
g). Adam's steps do not depend on the scale of a gradient, so they are equally large for all layers. Pixel norm:
b = a / √(mean_c a_c² + 1e-8). Minibatch standard deviation: the variation within a group of images, as one more
channel.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from histosynth.autocast import autocast_off

STDDEV_GROUP = 4
"""Number of consecutive images per group of `minibatch_stddev`; splitting a batch between groups changes nothing."""

_EPSILON = 1e-8


class EqualizedConv(nn.Module):
    """An equalized convolution of odd `kernel` that keeps the side; `gain` is √2 before a rectifier, otherwise 1."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, gain: float = math.sqrt(2)) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = gain / math.sqrt(inputs * kernel**2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, S, S) to (B, outputs, S, S)."""
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.weight.shape[-1] // 2)


class EqualizedLinear(nn.Module):
    """An equalized fully connected layer; see `EqualizedConv`."""

    def __init__(self, inputs: int, outputs: int, *, gain: float = math.sqrt(2), bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale = gain / math.sqrt(inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs) to (B, outputs)."""
        return F.linear(x, self.weight * self.scale, self.bias)


class EqualizedEmbedding(nn.Module):
    """One vector per label, `scale` times the learned weights."""

    def __init__(self, labels: int, size: int, *, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(labels, size))
        self.scale = scale

    def forward(self, label: Tensor) -> Tensor:
        """Map (B,) to (B, size)."""
        return F.embedding(label, self.weight) * self.scale


def leaky_relu(x: Tensor) -> Tensor:
    """Apply the leaky rectifier with slope 0.2."""
    return F.leaky_relu(x, 0.2)


def pixel_norm(x: Tensor) -> Tensor:
    """Scale each pixel's vector of channels (dimension 1) to a mean square of 1."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + _EPSILON)


def minibatch_stddev(x: Tensor) -> Tensor:
    """Append the standard deviation over each group, averaged over channels and pixels: C channels become C + 1.

    B is a multiple of `STDDEV_GROUP`, or smaller: then all images form one group.
    """
    size = min(STDDEV_GROUP, len(x))
    variance = x.reshape(-1, size, *x.shape[1:]).var(1, correction=0)
    deviation = (variance + _EPSILON).sqrt().mean((1, 2, 3)).repeat_interleave(size)
    return torch.cat([x, deviation.to(x.dtype).view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])], 1)


def upsample(x: Tensor, factor: int = 2) -> Tensor:
    """Repeat each pixel as a square of `factor`² pixels, in the type of `x`."""
    if factor == 1:
        return x
    with autocast_off(x):  # it returns float32
        return F.interpolate(x, scale_factor=float(factor), mode="nearest")


def downsample(x: Tensor, factor: int = 2) -> Tensor:
    """Average over each square of `factor`² pixels."""
    return F.avg_pool2d(x, factor) if factor > 1 else x
