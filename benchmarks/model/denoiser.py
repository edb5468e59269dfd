"""How fast the U-Net trains and runs: histosynth beside the U-Nets of others, of equal size, in one run.

    python benchmarks/model/denoiser.py [--quick] [--peer-path CLONE...] [--px 64 128] [--precision fp32 bf16]
    [--threads 1 2]

17.8 million parameters each at 64 px (64 channels, times 1, 2, 3, 4 over the levels; at 128 px a level of 64 more and
18.5 million; one block a level, attention at 16 and 8 px). diffusers' `UNet2DModel` and denoising-diffusion-pytorch's
`Unet` (its nearest width: 4 % larger, without labels) come with `pip install 'histosynth[bench]'`; `--peer-path` names
clones of guided-diffusion and of EDM. A training step is the same around each: P2-weighted loss under autocast,
backward, gradient clipping, fused AdamW, averaged weights. Networks take turns, step by step. Each of the others is
timed in both memory formats and keeps its faster one. guided-diffusion cannot train in bf16 as shipped (it recomputes
its attention outside autocast): a row of its own has that recomputation switched off.

The bound: all convolutions of the network alone, forward and backward, as plain convolutions in the faster memory
format. histosynth resizes within the convolution and so does fewer multiplications than the bound counts.

Times on one thread are processor time, so that other work on the machine counts little (though it takes cache and
memory bandwidth from all); on more threads they are wall time, and mean nothing where a neighbor is busy. `--memory`
measures the largest resident set of a process that trains one network, torch included (Linux alone). All of it takes
half an hour on an idle machine and 6 GB; `--quick` (64 px, bf16, batches of 4, one thread, diffusers alone) half a
minute. The last line is JSON: `ratio` is our training steps over those of diffusers at the last size, precision and
number of threads; `low` and `high` are the least and the largest of the turns.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from histosynth.diffusion.discrete import DiscreteDenoiser
from histosynth.diffusion.schedule import linear
from histosynth.diffusion.unet import UNet
from histosynth.diffusion.weighting import p2
from histosynth.training.ema import EMA

LABELS, CHANNELS = 3, 64
MULT = {64: (1, 2, 3, 4), 128: (1, 1, 2, 3, 4)}
BATCH = {64: 8, 128: 4}
FORMATS = (torch.contiguous_format, torch.channels_last)

warnings.filterwarnings("ignore", module="diffusers|accelerate|torch_utils|training")


class Peer(nn.Module):
    """Another's network, called as ours are."""

    null_label = LABELS

    def __init__(self, network: nn.Module, call: Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.call = network, call

    def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        """See `UNet.forward`."""
        return self.call(self.network, x, time, label)


def histosynth(px: int) -> nn.Module:
    return UNet(
        image_px=px, labels=LABELS, channels=CHANNELS, channel_mult=MULT[px], blocks=1, attention_px=(16, 8), heads=4
    )


def diffusers(px: int) -> nn.Module:
    from diffusers import UNet2DModel

    plain = len(MULT[px]) - 2  # levels without attention
    network = UNet2DModel(
        sample_size=px,
        block_out_channels=[CHANNELS * m for m in MULT[px]],
        layers_per_block=1,
        down_block_types=["ResnetDownsampleBlock2D"] * plain + ["AttnDownBlock2D"] * 2,
        up_block_types=["AttnUpBlock2D"] * 2 + ["ResnetUpsampleBlock2D"] * plain,
        downsample_type="resnet",
        upsample_type="resnet",
        resnet_time_scale_shift="scale_shift",
        attention_head_dim=64,
        num_class_embeds=LABELS + 1,
    )
    return Peer(network, lambda network, x, t, y: network(x, t, class_labels=y).sample)


def denoising_diffusion_pytorch(px: int) -> nn.Module:
    from denoising_diffusion_pytorch import Unet

    return Peer(Unet(dim=72, dim_mults=MULT[px]), lambda network, x, t, y: network(x, t))


def guided_diffusion(px: int) -> nn.Module:
    from guided_diffusion.unet import UNetModel

    network = UNetModel(
        image_size=px,
        in_channels=3,
        model_channels=CHANNELS,
        out_channels=3,
        num_res_blocks=1,
        attention_resolutions=(px // 16, px // 8),
        channel_mult=MULT[px],
        num_classes=LABELS + 1,
        num_heads=4,
        use_scale_shift_norm=True,
        resblock_updown=True,
    )
    return Peer(network, lambda network, x, t, y: network(x, t, y))


def guided_diffusion_repaired(px: int) -> nn.Module:
    peer = guided_diffusion(px)
    sys.modules["guided_diffusion.unet"].checkpoint = lambda function, inputs, parameters, flag: function(*inputs)
    return peer


def edm(px: int) -> nn.Module:
    from training.networks import DhariwalUNet

    network = DhariwalUNet(
        px,
        3,
        3,
        label_dim=LABELS + 1,
        model_channels=CHANNELS,
        channel_mult=MULT[px],
        num_blocks=1,
        attn_resolutions=[16, 8],
        dropout=0,
    )
    return Peer(network, lambda network, x, t, y: network(x, t, F.one_hot(y, LABELS + 1).float()))


NETWORKS = {
    "histosynth": histosynth,
    "diffusers": diffusers,
    "denoising-diffusion-pytorch": denoising_diffusion_pytorch,
    "guided-diffusion": guided_diffusion,
    "guided-diffusion, repaired": guided_diffusion_repaired,
    "EDM": edm,
}


class Trainee:
    """A network with all that a training step touches."""

    def __init__(self, name: str, *, px: int, batch: int, precision: str, memory_format: torch.memory_format) -> None:
        torch.manual_seed(0)
        self.precision = precision
        self.denoiser = DiscreteDenoiser(NETWORKS[name](px), linear(1000), weighting=partial(p2, gamma=0.5)).to(
            memory_format=memory_format
        )
        self.optimizer = torch.optim.AdamW(self.denoiser.parameters(), lr=1e-4, fused=True)
        self.ema = EMA(self.denoiser, halflife=1000)
        self.x = torch.rand(batch, 3, px, px).mul(2).sub(1).to(memory_format=memory_format)
        self.label = torch.arange(batch) % LABELS
        self.generator = torch.Generator().manual_seed(0)
        self.seen = 0

    def autocast(self) -> AbstractContextManager[object]:
        """The precision of this network."""
        return torch.autocast("cpu", dtype=torch.bfloat16) if self.precision == "bf16" else nullcontext()

    def step(self) -> None:
        """One step of training."""
        with self.autocast():
            t = self.denoiser.draw_times(len(self.x), generator=self.generator)
            noise = torch.randn(self.x.shape, generator=self.generator)
            loss = self.denoiser.loss_at(self.x, self.label, t=t, noise=noise).weighted.mean()
        loss.backward()
        nn.utils.clip_grad_norm_(self.denoiser.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.seen += len(self.x)
        self.ema.update(self.denoiser, images=self.seen, batch=len(self.x))

    @torch.inference_mode()
    def forward(self) -> None:
        """One call as in sampling."""
        with self.autocast():
            self.denoiser(self.x, torch.full((len(self.x),), 500.0), self.label)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="64 px, bf16, one thread, diffusers alone")
    parser.add_argument("--peer-path", type=Path, nargs="+", default=[], metavar="CLONE")
    parser.add_argument("--px", type=int, nargs="+", default=[128, 64], choices=list(MULT))
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=list(NETWORKS), choices=list(NETWORKS), help="networks")
    parser.add_argument("--memory", action="store_true", help="measure memory too, on one thread")
    parser.add_argument("--memory-of", nargs=3, metavar=("NETWORK", "PX", "PRECISION"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    sys.path[:0] = [str(path) for path in given.peer_path]
    if given.memory_of:
        name, px, precision = given.memory_of
        print(peak_rss_mb(name, int(px), precision))
        return
    if given.quick:
        given.px, given.precision, given.threads, given.turns = [64], ["bf16"], [1], 3
        given.only = ["histosynth", "diffusers"]
    here = f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}"
    print(f"{here}, native bf16 {torch.cpu._is_avx512_bf16_supported()}, load {os.getloadavg()[0]:.1f}")
    result = {}
    for threads in sorted(given.threads, reverse=True):
        torch.set_num_threads(threads)
        for px in given.px:
            for precision in given.precision:
                result = compare(px, precision, threads=threads, given=given)
    print(json.dumps({"name": "denoiser", **result}))


def compare(px: int, precision: str, *, threads: int, given: argparse.Namespace) -> dict[str, object]:
    """Time all networks there are, print a table, return the headline: histosynth over diffusers."""
    batch = BATCH[px] // 2 if given.quick else BATCH[px]
    trainees: dict[str, list[Trainee]] = {}
    for name in given.only:
        if name == {"fp32": "guided-diffusion, repaired", "bf16": "guided-diffusion"}[precision]:
            continue
        formats = [torch.channels_last] if name == "histosynth" else list(FORMATS)
        try:
            trainees[name] = [Trainee(name, px=px, batch=batch, precision=precision, memory_format=f) for f in formats]
        except ImportError as error:
            print(f"{name} is left out: {error}")
    clock = time.process_time if threads == 1 else time.perf_counter
    bound = batch / convolution_seconds(px, batch, precision, clock)
    print(f"\n{px} px, {precision}, batches of {batch}, threads: {threads}; images a second, median of {given.turns}")
    print(f"{'':<30}{'training':>10}{'of bound':>10}{'forward':>10}{'peak MB':>10}   million parameters")
    steps = turns(trainees, Trainee.step, given.turns, clock)
    forwards = turns(trainees, Trainee.forward, given.turns, clock)
    for name, seconds in steps.items():
        rate, forward = (batch / statistics.median(s) for s in (seconds, forwards[name]))
        memory = measured_apart(name, px, precision, given.peer_path) if given.memory and threads == 1 else ""
        size = sum(p.numel() for p in trainees[name][0].denoiser.parameters()) / 1e6
        print(f"{name:<30}{rate:>10.2f}{rate / bound:>10.0%}{forward:>10.2f}{memory:>10}   {size:.2f}", flush=True)
    print(f"{'the convolutions alone':<30}{bound:>10.2f}")
    if "histosynth" not in steps or "diffusers" not in steps:
        return {}
    ratios = [b / a for a, b in zip(steps["histosynth"], steps["diffusers"], strict=True)]
    return {
        "ratio": round(statistics.median(ratios), 2),
        "low": round(min(ratios), 2),
        "high": round(max(ratios), 2),
        "unit": f"training steps a second over diffusers' UNet2DModel, {px} px, {precision}, threads: {threads}",
        "images_per_s": round(batch / statistics.median(steps["histosynth"]), 2),
        "peer_images_per_s": round(batch / statistics.median(steps["diffusers"]), 2),
        "of_bound": round(batch / statistics.median(steps["histosynth"]) / bound, 2),
        "batch": batch,
        "turns": given.turns,
    }


def turns(
    trainees: dict[str, list[Trainee]], work: Callable[[Trainee], None], count: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Seconds of each network in each turn, of its faster memory format."""
    seconds = {name: [[] for _ in formats] for name, formats in trainees.items()}
    for turn in range(count + 1):
        for name, formats in trainees.items():
            for trainee, found in zip(formats, seconds[name], strict=True):
                begin = clock()
                work(trainee)
                if turn:  # the first one warms up
                    found.append(clock() - begin)
    return {name: min(found, key=statistics.median) for name, found in seconds.items()}


class Convolutions(TorchDispatchMode):
    """Counts the convolutions that are called; those that resize as well count as plain ones of the larger image."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[tuple[tuple[int, ...], tuple[int, ...]]] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.convolution.default:
            (n, c, h, w), weight, transposed = args[0].shape, tuple(args[1].shape), args[6]
            self.calls[((n, c, 2 * h, 2 * w), (weight[1], c, 3, 3)) if transposed else ((n, c, h, w), weight)] += 1
        return function(*args, **(kwargs or {}))


def convolution_seconds(px: int, batch: int, precision: str, clock: Callable[[], float]) -> float:
    """Seconds for all convolutions of the network, forward and backward, with nothing between them."""
    with torch.device("meta"), Convolutions() as found:
        histosynth(px)(torch.empty(batch, 3, px, px), torch.empty(batch), torch.empty(batch, dtype=torch.long))
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    total = 0.0
    for (image, kernel), count in found.calls.items():
        best = math.inf
        for memory_format in FORMATS:
            x, w = (torch.randn(s, dtype=dtype).to(memory_format=memory_format) for s in (image, kernel))
            inputs = [w.requires_grad_()] if image[1] == 3 else [x.requires_grad_(), w.requires_grad_()]
            y = F.conv2d(x, w, padding=kernel[-1] // 2)
            dy = torch.randn_like(y)
            for _ in range(3):
                begin = clock()
                torch.autograd.grad(F.conv2d(x, w, padding=kernel[-1] // 2), inputs, dy)
                best = min(best, clock() - begin)
        total += count * best
    return total


def measured_apart(name: str, px: int, precision: str, peers: list[Path]) -> str:
    """The memory of a network's training in a process of its own, in MB."""
    paths = ["--peer-path", *map(str, peers)] if peers else []
    command = [sys.executable, __file__, "--memory-of", name, str(px), precision, *paths]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def peak_rss_mb(name: str, px: int, precision: str) -> int:
    """The largest resident set of this process after three steps, in the memory format that takes less time there."""
    torch.set_num_threads(1)
    memory_format = torch.channels_last if name == "histosynth" or px > 64 else torch.contiguous_format
    trainee = Trainee(name, px=px, batch=BATCH[px], precision=precision, memory_format=memory_format)
    for _ in range(3):
        trainee.step()
    # Linux alone: `ru_maxrss` of a child begins with what its parent had
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
