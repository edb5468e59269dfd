"""Memory and time of models on a GPU, predicted from what can be counted without one.

    python benchmarks/model/gpu_predicted.py [--tflops 395] [--labels 2] [--quick]

- Work: floating-point operations of a pass, counted by PyTorch for one image; a training step takes three passes.
- Memory: the tensors that the forward pass keeps for the backward pass under bf16 autocast, without the matrices of
  attention, which a fused kernel does not keep; and weights, gradient, moments of the optimizer and averages in fp32.
- Time: the work at `--tflops`, by default 40 % of the bf16 peak of an H200. It is a lower bound, since it leaves out
  everything but convolutions and matrix products.

The network is built but not run, which takes seconds. The last line is JSON: GFLOP per training image.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import torch
from gpu_speed import flop_per_training_image
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from histosynth.config import Settings, load_settings
from histosynth.diffusion.build import build_denoiser
from histosynth.diffusion.denoiser import Denoiser

MODELS = {
    "`small`": "small",
    "tissue model of `gpu.py`": Path(__file__).with_name("gpu_tissue.toml"),
    "`paper`": "paper",
}
FP32_BYTES = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tflops", type=float, default=395)
    parser.add_argument("--labels", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="only the smallest model")
    options = parser.parse_args()
    columns = (
        "million weights",
        "GFLOP per training image",
        "MiB kept per image",
        "fixed GiB",
        "images/s",
        "h per million",
    )
    print(f"| model | {' | '.join(columns)} |\n| --- |{' --- |' * len(columns)}")
    result = {}
    for name, source in list(MODELS.items())[: 1 if options.quick else None]:
        settings = load_settings(source)
        px = settings.patches.patch_px
        denoiser = _build(settings, options.labels)
        channels = denoiser.network.input.in_channels // settings.model.stem**2
        gflop = flop_per_training_image(partial(_network, settings, options.labels), px, channels=channels) / 1e9
        kept = bytes_kept(denoiser, px, channels=channels, heads=settings.model.heads)
        weights = sum(each.numel() for each in denoiser.parameters())
        tensors = 4 + len(settings.train.ema_halflife)  # weights, gradient, two moments, averages
        rate = options.tflops * 1e3 / gflop
        cells = (
            f"{weights / 1e6:.1f}",
            f"{gflop:,.1f}",
            f"{kept / 2**20:,.0f}",
            f"{tensors * FP32_BYTES * weights / 2**30:.2f}",
            f"{rate:,.0f}",
            f"{1e6 / rate / 3600:.2f}",
        )
        print(f"| {name} | {' | '.join(cells)} |")
        result[name] = round(gflop, 2)
    print(json.dumps({"name": "gpu_predicted", "gflop_per_training_image": result}))


def _build(settings: Settings, labels: int) -> Denoiser:
    return build_denoiser(settings.model, settings.diffusion, image_px=settings.patches.patch_px, labels=labels)


def _network(settings: Settings, labels: int) -> nn.Module:
    return _build(settings, labels).network


def bytes_kept(denoiser: Denoiser, px: int, *, channels: int, heads: int) -> int:
    """Return the bytes kept per training image, from a forward pass of two images without values."""
    images = 2
    weights = {each.untyped_storage()._cdata for each in denoiser.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        attention = tensor.ndim == 4 and tensor.shape[2] == tensor.shape[3] and tensor.shape[1] == heads
        storage = tensor.untyped_storage()
        if storage._cdata not in weights and tensor.shape[:1] == (images,) and not attention:
            kept[storage._cdata] = tensor.numel() * tensor.element_size()
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with FakeTensorMode(allow_non_fake_inputs=True), hooks, torch.autocast("cpu", torch.bfloat16):
        x, t, label = torch.rand(images, channels, px, px), torch.rand(images), torch.zeros(images, dtype=torch.long)
        denoiser.network(x, t, label)
    return sum(kept.values()) // images


if __name__ == "__main__":
    main()
