"""A classifier of noisy images, to guide a denoiser (Dhariwal & Nichol 2021, section 4).

The network consists of the downsampling half of the denoiser's U-Net, its middle, and a mean over the remaining
positions (theirs uses attention pooling). It receives the noise level as the angle atan(σ/α), from 0 to π/2 in any
process, and images scaled to about unit variance, x / √(σ² + α²/4).
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from histosynth.diffusion.schedule import Schedule
from histosynth.diffusion.unet import Attention, NormAct, ResidualBlock, Stage, sinusoids

_TIMES = 1000  # noise levels of a continuous process used in training


class UNetEncoder(nn.Module):
    """A map from (B, 3, S, S) images and (B,) times to (B, labels) logits. For the arguments see `unet.UNet`."""

    def __init__(
        self,
        *,
        image_px: int,
        labels: int,
        channels: int,
        channel_mult: Sequence[int],
        blocks: int,
        attention_px: Sequence[int],
        heads: int,
        head_channels: int,
        dropout: float,
        stem: int,
        checkpointing: bool,
    ) -> None:
        super().__init__()
        if image_px % (stem * 2 ** (len(channel_mult) - 1)):
            raise ValueError(f"image side {image_px} is not a multiple of stem {stem} x 2^{len(channel_mult) - 1}")
        # Time embedding
        self.channels, self.stem = channels, stem
        embedding = 4 * channels
        self.time_embed = nn.Sequential(nn.Linear(channels, embedding), nn.SiLU(), nn.Linear(embedding, embedding))

        def residual(inputs: int, outputs: int, scale: float = 1.0) -> ResidualBlock:
            return ResidualBlock(inputs, outputs, embedding, dropout, scale=scale, checkpointing=checkpointing)

        # Downsampling half of the U-Net
        side, width = image_px // stem, channel_mult[0] * channels
        self.input = nn.Conv2d(3 * stem**2, width, 3, padding=1)
        self.down = nn.ModuleList()
        for level, multiplier in enumerate(channel_mult):
            for _ in range(blocks):
                stage = Stage([residual(width, multiplier * channels)])
                width = multiplier * channels
                if side in attention_px:
                    stage.append(Attention(width, heads, head_channels))
                self.down.append(stage)
            if level < len(channel_mult) - 1:
                self.down.append(Stage([residual(width, width, 0.5)]))
                side //= 2
        # Middle and output
        self.middle = Stage([residual(width, width), Attention(width, heads, head_channels), residual(width, width)])
        self.norm, self.output = NormAct(width), nn.Linear(width, labels)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Run the network: `x` (B, 3, S, S), `time` (B,) of any real scale."""
        embedding = F.silu(self.time_embed(sinusoids(time, self.channels).to(x.dtype)))
        h = self.input(F.pixel_unshuffle(x, self.stem).contiguous(memory_format=torch.channels_last))
        for stage in self.down:
            h = stage(h, embedding)
        h = self.middle(h, embedding)
        logits: Tensor = self.output(self.norm(h).mean(dim=(2, 3)))
        return logits


class NoisyClassifier(nn.Module):
    """The model of p(label | x_t).

    Attributes:
        schedule: noise schedule of the process.
    """

    def __init__(self, network: nn.Module, schedule: Schedule) -> None:
        super().__init__()
        self.network, self.schedule = network, schedule
        self._times = schedule.times(getattr(schedule, "timesteps", _TIMES))[:-1]

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Compute log probabilities (B, labels) of `x` (B, 3, S, S) at times `t` (B,)."""
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        scale = (sigma**2 + alpha**2 / 4).rsqrt()
        logits = self.network(scale[:, None, None, None] * x, 2000 / math.pi * torch.atan2(sigma, alpha))
        return F.log_softmax(logits.float(), dim=1)

    def draw_times(self, count: int, *, generator: torch.Generator) -> Tensor:
        """Draw training times, (count,) on the CPU, uniformly from all times that a sampler may visit."""
        return self._times[torch.randint(len(self._times), (count,), generator=generator)]

    def loss_at(self, x0: Tensor, label: Tensor, *, t: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Compute cross entropy and correctness of each image at times `t` with `noise`, (B,) each."""
        alpha, sigma = self.schedule.alpha(t)[:, None, None, None], self.schedule.sigma(t)[:, None, None, None]
        log_probabilities = self(alpha * x0 + sigma * noise, t)
        # Not `nll_loss`, which has no deterministic algorithm on a GPU.
        cross_entropy = -log_probabilities.gather(1, label[:, None])[:, 0]
        return cross_entropy, log_probabilities.argmax(dim=1) == label

    def gradient(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """See `guidance.GuidingClassifier`; also works inside `torch.inference_mode`."""
        with torch.inference_mode(False), torch.enable_grad():
            x, t, label = x.clone().requires_grad_(), t.clone(), label.clone()
            log_probability = self(x, t).gather(1, label[:, None]).sum()
            (gradient,) = torch.autograd.grad(log_probability, x)
        return gradient
