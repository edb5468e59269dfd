"""Train a peer's diffusion model on a number of images; called by `quality_by_compute.py`.

    equal_time_peers.py PEER --patches NPZ --images N --out NPZ --per-label N [--lr LR] [--batch B] [--width W]

- `diffusers`: its `UNet2DModel` with classes and the settings of its unconditional training example: 1,000 linear
  steps, noise prediction, AdamW (0.95, 0.999, weight decay 1e-6), batch 16, 500 steps of warm-up, cosine decay to zero,
  EMA of power 3/4, horizontal flips; sampling by its `DDPMScheduler`.
- `denoising-diffusion-pytorch`: the class-conditional `Unet` and `GaussianDiffusion` of its `classifier_free_guidance`
  module with the values of its README: cosine schedule, noise prediction, labels dropped with probability 0.5; Adam
  (0.9, 0.99), batch 32, EMA 0.995 every ten steps and horizontal flips as in its `Trainer`; sampling by its own DDIM
  with eta 1.

Both networks are smaller than their defaults, so that half an hour on one core suffices for useful training. The
learning rate is 4e-4: the published 1e-4 and 8e-5 are for many more than some thousand steps. They compute in bf16
where the processor multiplies it, and in fp32 elsewhere, as histosynth does.
"""

import argparse
import contextlib
import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from histosynth.training.device import has_native_bf16

SIDE, STEPS, AT_ONCE = 32, 25, 50
UNGUIDED = 1 + 1e-9  # at exactly 1, denoising-diffusion-pytorch 2.3.4 raises a ValueError
Loss = Callable[[Tensor, Tensor], Tensor]
Sample = Callable[[Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--patches", type=Path, required=True, help="`images` (N, 32, 32, 3) uint8, and `labels`")
    parser.add_argument("--images", type=int, required=True, help="seen in training")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--per-label", type=int, required=True)
    parser.add_argument("--lr", type=float, default=4e-4)
    parser.add_argument("--batch", type=int, help="default: 32 for denoising-diffusion-pytorch, 16 for diffusers")
    parser.add_argument("--width", type=int, default=32, help="channels of the first level")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    patches = np.load(options.patches)
    x = torch.from_numpy(patches["images"]).permute(0, 3, 1, 2) / 255
    labels = torch.from_numpy(patches["labels"])
    options.classes = len(labels.unique())
    result = PEERS[options.peer](x, labels, options)
    print(json.dumps(result))


def diffusers(x: Tensor, labels: Tensor, options: argparse.Namespace) -> dict[str, float]:
    from diffusers import DDPMScheduler, UNet2DModel
    from diffusers.training_utils import EMAModel

    # Network and optimizer
    batch = options.batch or 16
    net = UNet2DModel(
        sample_size=SIDE,
        block_out_channels=(options.width, 2 * options.width, 4 * options.width),
        norm_num_groups=8 if options.width % 32 else 32,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        num_class_embeds=options.classes,
    )
    process = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
    optimizer = torch.optim.AdamW(net.parameters(), lr=options.lr, betas=(0.95, 0.999), weight_decay=1e-6)
    ema = EMAModel(net.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)

    # Training
    def loss(image: Tensor, label: Tensor) -> Tensor:
        t = torch.randint(0, 1000, (len(image),))
        noise = torch.randn_like(image)
        predicted = net(process.add_noise(image * 2 - 1, noise, t), t, class_labels=label).sample
        return F.mse_loss(predicted.float(), noise)

    steps = -(-options.images // batch)
    for step in range(steps):
        rate = min((step + 1) / 500, 1) * (1 + np.cos(np.pi * step / steps)) / 2
        update(net, optimizer, loss, x, labels, batch=batch, lr=options.lr * rate)
        ema.step(net.parameters())
    # Sampling
    ema.copy_to(net.parameters())
    process.set_timesteps(STEPS)

    def sample(label: Tensor) -> Tensor:
        image = torch.randn(len(label), 3, SIDE, SIDE)
        for t in process.timesteps:
            image = process.step(net(image, t, class_labels=label).sample.float(), t, image).prev_sample
        return image / 2 + 0.5

    return finish(net, sample, options, seen=steps * batch)


def denoising_diffusion_pytorch(x: Tensor, labels: Tensor, options: argparse.Namespace) -> dict[str, float]:
    from denoising_diffusion_pytorch.classifier_free_guidance import GaussianDiffusion, Unet
    from ema_pytorch import EMA

    batch = options.batch or 32
    net = Unet(dim=options.width, num_classes=options.classes, cond_drop_prob=0.5)
    process = GaussianDiffusion(net, image_size=SIDE, sampling_timesteps=STEPS)
    optimizer = torch.optim.Adam(process.parameters(), lr=options.lr, betas=(0.9, 0.99))
    ema = EMA(process, beta=0.995, update_every=10)
    steps = -(-options.images // batch)
    for _ in range(steps):
        update(process, optimizer, lambda image, y: process(image, classes=y), x, labels, batch=batch, lr=options.lr)
        ema.update()

    def sample(label: Tensor) -> Tensor:
        with contextlib.redirect_stderr(io.StringIO()):  # hides one progress bar per batch
            return ema.ema_model.sample(label, cond_scale=UNGUIDED)

    return finish(ema.ema_model, sample, options, seen=steps * batch)


PEERS = {"diffusers": diffusers, "denoising-diffusion-pytorch": denoising_diffusion_pytorch}


def autocast() -> torch.autocast:
    """Compute in bf16 where that is fast."""
    native = has_native_bf16(torch.device("cpu"))
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=native)


def update(
    module: nn.Module, optimizer: torch.optim.Optimizer, loss: Loss, x: Tensor, labels: Tensor, *, batch: int, lr: float
) -> None:
    """Take one step on random images, half of them mirrored."""
    rows = torch.randint(0, len(x), (batch,))
    image = torch.where(torch.rand(batch, 1, 1, 1) < 0.5, x[rows].flip(3), x[rows])
    with autocast():
        value = loss(image, labels[rows])
    value.backward()
    nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    optimizer.zero_grad()


@torch.inference_mode()
def finish(module: nn.Module, sample: Sample, options: argparse.Namespace, *, seen: int) -> dict[str, float]:
    """Write `images` (N, 32, 32, 3) uint8 and `labels`, and return the record of the training."""
    trained = time.process_time()
    module.eval()
    labels = torch.arange(options.per_label * options.classes) % options.classes
    samples: list[NDArray[np.uint8]] = []
    with autocast():
        for part in labels.split(AT_ONCE):
            images = sample(part).float().clamp(0, 1)
            samples.append((images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
    np.savez(options.out, images=np.concatenate(samples), labels=labels.numpy())
    return {
        "images": seen,
        "cpu_seconds": round(trained, 1),
        "sampling_seconds": round(time.process_time() - trained, 1),
        "parameters": sum(weight.numel() for weight in module.parameters()),
    }


if __name__ == "__main__":
    main()
