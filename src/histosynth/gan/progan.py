"""The progressive GAN of Karras et al. (2018, table 2), conditioned on the label after Miyato & Koyama (2018).

Generator: the latent is mapped to 4 x 4 pixels; each further level doubles the side and has two convolutions, each
followed by leaky rectifier and pixel norm. The discriminator mirrors the generator, with the minibatch standard
deviation at 4 x 4. Each level has its own 1 x 1 convolutions to and from RGB. The label enters in both networks:

    generator       first layer W z + e_y, as if y were a one-hot part of the latent
    discriminator   D(x, y) = ψ(φ(x)) + ⟨v_y, φ(x)⟩    (the projection; φ the last hidden layer, ψ linear)
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from histosynth.gan.growth import BASE_PX, Growth, final_level
from histosynth.gan.layers import (
    EqualizedConv,
    EqualizedEmbedding,
    EqualizedLinear,
    downsample,
    leaky_relu,
    minibatch_stddev,
    pixel_norm,
    upsample,
)

_AREA = BASE_PX**2
_FIRST_GAIN = math.sqrt(2) / 4  # gain of the layer from the latent, as in the code of Karras et al.


def channels_per_level(image_px: int, *, width: int, full_width_px: int) -> list[int]:
    """Return the channels of each level: `width` up to `full_width_px`, then half as many with each doubling.

    The networks of Karras et al. have 512 up to 32 px: 512, 512, 512, 512, 256, 128 at 4 to 128 px.
    """
    sides = [BASE_PX << level for level in range(final_level(image_px) + 1)]
    return [width if px <= full_width_px else max(width * full_width_px // px, 1) for px in sides]


class Block(nn.Module):
    """Two convolutions, each followed by the leaky rectifier and, with `norm`, by pixel norm."""

    def __init__(self, inputs: int, hidden: int, outputs: int, *, norm: bool) -> None:
        super().__init__()
        self.first, self.second, self.norm = EqualizedConv(inputs, hidden, 3), EqualizedConv(hidden, outputs, 3), norm

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, S, S) to (B, outputs, S, S)."""
        for conv in (self.first, self.second):
            x = leaky_relu(conv(x))
            x = pixel_norm(x) if self.norm else x
        return x


class Generator(nn.Module):
    """A map from latents and labels to images.

    Args:
        image_px: side of the images at full size.
        labels: number of labels.
        latent: size of the latent.
        width: channels of the levels up to `full_width_px`.
        full_width_px: side up to which levels have `width` channels.
    """

    def __init__(self, *, image_px: int, labels: int, latent: int, width: int, full_width_px: int) -> None:
        super().__init__()
        channels = channels_per_level(image_px, width=width, full_width_px=full_width_px)
        self.image_px, self.latent = image_px, latent
        self.first = EqualizedLinear(latent, channels[0] * _AREA, gain=_FIRST_GAIN, bias=False)
        self.label = EqualizedEmbedding(labels, channels[0] * _AREA, scale=_FIRST_GAIN)
        self.first_bias = nn.Parameter(torch.zeros(channels[0], 1, 1))
        self.conv = EqualizedConv(channels[0], channels[0], 3)
        self.blocks = nn.ModuleList(Block(below, own, own, norm=True) for below, own in pairwise(channels))
        self.to_rgb = nn.ModuleList(EqualizedConv(own, 3, 1, gain=1) for own in channels)

    def forward(self, z: Tensor, label: Tensor, *, growth: Growth) -> Tensor:
        """Map (B, latent) and (B,) to (B, 3, px, px), about [-1, 1]."""
        x = self.first(pixel_norm(z)) + self.label(label)
        x = x.view(len(z), -1, BASE_PX, BASE_PX) + self.first_bias
        x = pixel_norm(leaky_relu(self.conv(pixel_norm(leaky_relu(x)))))
        below = x
        for block in self.blocks[: growth.level]:
            below, x = x, block(upsample(x))
        image: Tensor = self.to_rgb[growth.level](x)
        if growth.alpha == 1:
            return image
        return torch.lerp(upsample(self.to_rgb[growth.level - 1](below)), image, growth.alpha)

    def images(self, z: Tensor, label: Tensor, *, growth: Growth) -> Tensor:
        """Generate images at the full side, upsampled if growth is incomplete: (B, 3, image_px, image_px)."""
        return upsample(self(z, label, growth=growth), self.image_px // growth.px)


class Discriminator(nn.Module):
    """A map from images and labels to scores, high for real images; see `Generator` for the arguments."""

    def __init__(self, *, image_px: int, labels: int, width: int, full_width_px: int) -> None:
        super().__init__()
        channels = channels_per_level(image_px, width=width, full_width_px=full_width_px)
        self.from_rgb = nn.ModuleList(EqualizedConv(3, own, 1) for own in channels)
        self.blocks = nn.ModuleList(Block(own, own, below, norm=False) for below, own in pairwise(channels))
        self.conv = EqualizedConv(channels[0] + 1, channels[0], 3)
        self.last = EqualizedLinear(channels[0] * _AREA, channels[0])
        self.score = EqualizedLinear(channels[0], 1, gain=1)
        self.label = EqualizedEmbedding(labels, channels[0], scale=1 / math.sqrt(channels[0]))

    def features(self, x: Tensor, *, growth: Growth) -> Tensor:
        """Compute φ: (B, 3, px, px) -> (B, C)."""
        h = leaky_relu(self.from_rgb[growth.level](x))
        for level in range(growth.level, 0, -1):
            h = downsample(self.blocks[level - 1](h))
            if level == growth.level and growth.alpha < 1:
                h = torch.lerp(leaky_relu(self.from_rgb[level - 1](downsample(x))), h, growth.alpha)
        h = leaky_relu(self.conv(minibatch_stddev(h)))
        return leaky_relu(self.last(h.flatten(1)))

    def forward(self, x: Tensor, label: Tensor, *, growth: Growth) -> Tensor:
        """Compute D: (B, 3, px, px) and (B,) -> (B,)."""
        phi = self.features(x, growth=growth)
        scores: Tensor = self.score(phi).squeeze(1) + (self.label(label) * phi).sum(1)
        return scores


def seeded_latents(seeds: Sequence[int], *, size: int) -> Tensor:
    """Draw one latent per seed, (B, size), on the CPU, so that a seed gives the same numbers on every device."""
    return torch.stack([torch.randn(size, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
