"""The label-conditional U-Net of ADM (Dhariwal & Nichol 2021, "Diffusion models beat GANs on image synthesis").

Residual blocks also perform the down- and upsampling (as in BigGAN), self-attention acts on the coarse feature maps,
and time and label embeddings enter through adaptive group norm. Two additions: one more label, the null label, for
classifier-free guidance (Ho & Salimans 2022); and an optional stem that folds blocks of pixels into channels (space to
depth), which makes small-budget training several times faster.

With equal weights and `stem=1` the output equals that of guided-diffusion's `UNetModel` (`resblock_updown`,
`use_scale_shift_norm`, legacy attention order).

Feature maps have their channels innermost (`channels_last`). `benchmarks/model/denoiser.py` measures the speed.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from histosynth.autocast import autocast_off
from histosynth.diffusion.norm_act import norm_act


class UNet(nn.Module):
    """A map from (B, in_channels, S, S) images, (B,) times and (B,) labels to (B, out_channels, S, S).

    Args:
        image_px: side S; must be a multiple of `stem` times 2 ** (levels - 1).
        labels: number of labels K; label K is the null label.
        channels: channels of the first level.
        channel_mult: channels of each level as multiples of `channels`.
        blocks: residual blocks per level in the downsampling half (one more in the upsampling half).
        attention_px: sides of the feature maps with attention; the middle always has it.
        heads: number of attention heads; not used if `head_channels` > 0.
        head_channels: channels per attention head; 0: use `heads`.
        dropout: dropout before the last convolution of a block.
        stem: side of the pixel block folded into channels.
        in_channels: 3, or 6 where the network sees a second image beside the noisy one.
        out_channels: 3, or 6 for a learned variance.
        checkpointing: recompute the blocks in the backward pass to save memory.
    """

    def __init__(
        self,
        *,
        image_px: int,
        labels: int,
        channels: int = 128,
        channel_mult: Sequence[int] = (1, 1, 2, 3, 4),
        blocks: int = 2,
        attention_px: Sequence[int] = (32, 16, 8),
        heads: int = 4,
        head_channels: int = 0,
        dropout: float = 0.0,
        stem: int = 1,
        in_channels: int = 3,
        out_channels: int = 3,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if image_px % (stem * 2 ** (len(channel_mult) - 1)):
            raise ValueError(f"image side {image_px} is not a multiple of stem {stem} x 2^{len(channel_mult) - 1}")
        # Embeddings
        self.channels, self.stem, self.null_label = channels, stem, labels
        embedding = 4 * channels
        self.time_embed = nn.Sequential(nn.Linear(channels, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.label_embed = nn.Embedding(labels + 1, embedding)

        def residual(inputs: int, outputs: int, scale: float = 1.0) -> ResidualBlock:
            return ResidualBlock(inputs, outputs, embedding, dropout, scale=scale, checkpointing=checkpointing)

        def level_block(inputs: int, outputs: int, side: int) -> Stage:
            stage = Stage([residual(inputs, outputs)])
            if side in attention_px:
                stage.append(Attention(outputs, heads, head_channels))
            return stage

        # Downsampling half
        side, width = image_px // stem, channel_mult[0] * channels
        self.input = nn.Conv2d(in_channels * stem**2, width, 3, padding=1)
        self.down = nn.ModuleList()
        skips = [width]
        for level, multiplier in enumerate(channel_mult):
            for _ in range(blocks):
                self.down.append(level_block(width, multiplier * channels, side))
                width = multiplier * channels
                skips.append(width)
            if level < len(channel_mult) - 1:
                self.down.append(Stage([residual(width, width, 0.5)]))
                skips.append(width)
                side //= 2
        # Middle and upsampling half
        self.middle = Stage([residual(width, width), Attention(width, heads, head_channels), residual(width, width)])
        self.up = nn.ModuleList()
        for level, multiplier in reversed(list(enumerate(channel_mult))):
            for block in range(blocks + 1):
                stage = level_block(width + skips.pop(), multiplier * channels, side)
                width = multiplier * channels
                if level and block == blocks:
                    stage.append(residual(width, width, 2.0))
                    side *= 2
                self.up.append(stage)
        self.output = nn.Sequential(
            NormAct(width), nn.Identity(), zero_initialized(nn.Conv2d(width, out_channels * stem**2, 3, padding=1))
        )
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        """Run the network: `x` (B, C, S, S), `time` (B,) of any real scale, `label` (B,) in [0, K], K for null."""
        embedding = self.time_embed(sinusoids(time, self.channels).to(x.dtype)) + self.label_embed(label)
        embedding = F.silu(embedding)
        h = self.input(F.pixel_unshuffle(x, self.stem).contiguous(memory_format=torch.channels_last))
        skips = [h]
        for stage in self.down:
            h = stage(h, embedding)
            skips.append(h)
        h = self.middle(h, embedding)
        for stage in self.up:
            h = stage(torch.cat([h, skips.pop()], dim=1), embedding)
        out: Tensor = F.pixel_shuffle(self.output(h), self.stem)
        return out


class Stage(nn.ModuleList):
    """A sequence of residual and attention blocks; only residual blocks receive the embedding."""

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Apply the blocks to `x` (B, C, H, W) with `embedding` (B, E)."""
        for block in self:
            x = block(x, embedding) if isinstance(block, ResidualBlock) else block(x)
        return x


class ResidualBlock(nn.Module):
    """Norm, SiLU, (resizing,) convolution; adaptive norm (scale, shift), SiLU, convolution; plus the input."""

    def __init__(
        self, inputs: int, outputs: int, embedding: int, dropout: float, *, scale: float, checkpointing: bool
    ) -> None:
        super().__init__()
        self.scale, self.dropout, self.checkpointing = scale, dropout, checkpointing
        self.norm1 = NormAct(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * outputs)
        self.norm2 = NormAct(outputs)
        self.conv2 = zero_initialized(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map `x` (B, C, H, W) and `embedding` (B, E), after its SiLU, to (B, C', H * scale, W * scale)."""
        if self.checkpointing and torch.is_grad_enabled():
            recomputed: Tensor = checkpoint(self._forward, x, embedding, use_reentrant=False)
            return recomputed
        return self._forward(x, embedding)

    def _forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.norm1(x)
        h = upsampled_conv(h, self.conv1) if self.scale > 1 else self.conv1(resize(h, self.scale))
        h = self.norm2(h, self.modulation(embedding))
        h = self.conv2(F.dropout(h, self.dropout, self.training))
        out: Tensor = self.skip(resize(x, self.scale)) + h
        return out


class NormAct(nn.GroupNorm):
    """Group norm with 32 groups as in ADM, or the largest divisor of 32 that divides the channels, and SiLU."""

    def __init__(self, channels: int, *, silu: bool = True) -> None:
        super().__init__(math.gcd(32, channels), channels)
        self.silu = silu

    def forward(self, x: Tensor, modulation: Tensor | None = None) -> Tensor:
        """Normalize `x` (B, C, H, W); `modulation` (B, 2 C) contains s and t of the adaptive map (1 + s) y + t."""
        a, b = self.weight[None], self.bias[None]
        if modulation is not None:
            scale, shift = modulation.to(a.dtype).chunk(2, dim=1)
            a, b = a * (1 + scale), torch.addcmul(shift, b, 1 + scale)
        return norm_act(x, a, b, groups=self.num_groups, eps=self.eps, silu=self.silu)


class Attention(nn.Module):
    """Self-attention over the positions of a feature map, with a residual connection."""

    def __init__(self, channels: int, heads: int, head_channels: int) -> None:
        super().__init__()
        self.heads = max(channels // head_channels, 1) if head_channels else heads
        if channels % (head_channels or heads):
            raise ValueError(
                f"{channels} channels cannot be divided among attention heads ({heads=}, {head_channels=})"
            )
        self.norm = NormAct(channels, silu=False)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zero_initialized(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` (B, C, H, W) to the same shape."""
        batch, channels, height, width = x.shape
        qkv = self.qkv(self.norm(x)).reshape(batch, self.heads, 3, channels // self.heads, height * width)
        q, k, v = qkv.transpose(-1, -2).unbind(dim=2)
        h = attend(q, k, v).transpose(-1, -2).reshape(batch, channels, height, width)
        out: Tensor = x + self.out(h)
        return out


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Compute softmax(q kᵀ / sqrt(d)) v for (B, heads, positions, d)."""
    if q.device.type != "cpu" or q.dtype != torch.bfloat16 or q.shape[2] > 256:
        return F.scaled_dot_product_attention(q, k, v)
    # torch's fused kernel takes two to four times as long for few positions
    out: Tensor = (q * q.shape[3] ** -0.5 @ k.transpose(-1, -2)).softmax(-1) @ v
    return out


def zero_initialized(module: nn.Conv2d) -> nn.Conv2d:
    """Set the weights of a convolution to zero, so that its block starts as the identity."""
    nn.init.zeros_(module.weight)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
    return module


def resize(x: Tensor, scale: float) -> Tensor:
    """Resize by average pooling (scale 0.5) or nearest neighbor (2), or return the input (1), in the type of `x`."""
    if scale == 1:
        return x
    if scale < 1:
        return F.avg_pool2d(x, 2)
    with autocast_off(x):  # it returns float32
        return F.interpolate(x, scale_factor=2.0, mode="nearest")


def upsampled_conv(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """Apply a 3 x 3 convolution to `x` upsampled by two, in 16 / 36 of the multiplications.

    The upsampled image has four equal pixels per pixel, so a transposed convolution of stride two with the mirrored
    kernel w * [[1, 1], [1, 1]] gives the same result.
    """
    w = conv.weight.permute(2, 3, 0, 1)
    w = torch.stack((w[2], w[1] + w[2], w[0] + w[1], w[0]))
    w = torch.stack((w[:, 2], w[:, 1] + w[:, 2], w[:, 0] + w[:, 1], w[:, 0]), dim=1)
    out: Tensor = F.conv_transpose2d(x, w.permute(3, 2, 0, 1), conv.bias, stride=2, padding=1)
    return out


def sinusoids(time: Tensor, size: int) -> Tensor:
    """Embed (B,) times as (B, size) cosines and sines with wavelengths 2π to 2π · 10,000 (Vaswani et al. 2017)."""
    frequencies = torch.exp(-math.log(10_000) / (size // 2) * torch.arange(size // 2, device=time.device))
    angles = time[:, None].float() * frequencies
    return F.pad(torch.cat([angles.cos(), angles.sin()], dim=-1), (0, size % 2))
