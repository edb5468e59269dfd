"""Training and inference speed of the U-Net: histosynth compared with other U-Nets of equal size, in one run.

    python benchmarks/model/denoiser.py [--quick] [--peer-path CLONE...] [--px 64 128] [--precision fp32 bf16]
    [--threads 1 2]

Each network has 17.8 million parameters at 64 px (64 channels, times 1, 2, 3, 4 over the levels; at 128 px one more
level of 64 channels and 18.5 million parameters; one block per level, attention at 16 and 8 px). `UNet2DModel` of
diffusers and `Unet` of denoising-diffusion-pytorch (its nearest width: 4 % larger, without labels) come with `pip
install 'histosynth[bench]'`; `--peer-path` names clones of guided-diffusion and of EDM. All use the same training step:
P2-weighted loss under autocast, backward pass, gradient clipping, fused AdamW, averaged weights. The networks alternate
step by step. Each of the others is timed in both memory formats, and the faster one counts. guided-diffusion cannot
train in bf16 as published (it recomputes its attention outside autocast); a separate row ("repaired") is without this
recomputation.

The bound is the time of all convolutions of the network, forward and backward, as plain convolutions in the faster
memory format. histosynth resizes within the convolution and thus needs fewer multiplications than the bound counts.

Times on one thread are processor time, so that other work on the machine has little effect (although it uses cache and
memory bandwidth). On more threads they are wall time, which is meaningless on a busy machine. `--memory` measures the
largest resident set of a process that trains one network, including torch (Linux only). The full run takes half an hour
on an idle machine and 6 GB; `--quick` (64 px, batches of 4, one turn, one thread, diffusers only) takes a minute. The
last line is JSON: `ratio` is our training speed divided by that of diffusers at the last size, precision and number of
threads; `low` and `high` are the extremes over the turns.
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
from denoiser_networks import LABELS, MULT, NETWORKS, histosynth
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from histosynth.diffusion.denoiser import Denoiser
from histosynth.diffusion.discrete import DiscreteDenoiser
from histosynth.diffusion.schedule import linear
from histosynth.diffusion.weighting import p2
from histosynth.training.ema import EMA

BATCH = {64: 8, 128: 4}
FORMATS = (torch.contiguous_format, torch.channels_last)

warnings.filterwarnings("ignore", module="diffusers|accelerate|torch_utils|training")


class Trainee:
    """A denoiser with the data, optimizer and averaged weights of a training step."""

    def __init__(
        self,
        denoiser: Denoiser,
        *,
        px: int,
        batch: int,
        precision: str,
        layout: torch.memory_format,
        device: str = "cpu",
    ) -> None:
        self.denoiser, self.precision, self.device = denoiser.to(device, memory_format=layout), precision, device
        self.optimizer = torch.optim.AdamW(self.denoiser.parameters(), lr=1e-4, fused=True)
        self.ema = EMA(self.denoiser, halflife=1000)
        generator = torch.Generator().manual_seed(0)
        self.x = (torch.rand(batch, 3, px, px, generator=generator) * 2 - 1).to(device, memory_format=layout)
        self.noise = torch.randn(self.x.shape, generator=generator).to(device, memory_format=layout)
        self.t = denoiser.draw_times(batch, generator=generator).to(device)
        self.label = (torch.arange(batch) % LABELS).to(device)
        self.seen = 0

    def autocast(self) -> AbstractContextManager[object]:
        """Return the autocast context of this precision."""
        kind = self.device.partition(":")[0]
        return torch.autocast(kind, dtype=torch.bfloat16) if self.precision == "bf16" else nullcontext()

    def step(self) -> None:
        """Take one training step."""
        with self.autocast():
            loss = self.denoiser.loss_at(self.x, self.label, t=self.t, noise=self.noise).weighted.mean()
        loss.backward()
        nn.utils.clip_grad_norm_(self.denoiser.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.seen += len(self.x)
        self.ema.update(self.denoiser, images=self.seen, batch=len(self.x))

    @torch.inference_mode()
    def forward(self) -> None:
        """Denoise once, as in sampling."""
        with self.autocast():
            self.denoiser(self.x, self.t, self.label)


def build(name: str, px: int) -> Denoiser:
    """Build the denoiser of a network, with the same loss for all."""
    torch.manual_seed(0)
    return DiscreteDenoiser(NETWORKS[name](px), linear(1000), weighting=partial(p2, gamma=0.5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="64 px, one thread, diffusers only")
    parser.add_argument("--peer-path", type=Path, nargs="+", default=[], metavar="CLONE")
    parser.add_argument("--px", type=int, nargs="+", default=[128, 64], choices=list(MULT))
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=list(NETWORKS), choices=list(NETWORKS), help="networks")
    parser.add_argument("--memory", action="store_true", help="also measure memory, on one thread")
    parser.add_argument("--memory-of", nargs=3, metavar=("NETWORK", "PX", "PRECISION"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    sys.path[:0] = [str(path) for path in options.peer_path]
    if options.memory_of:
        name, px, precision = options.memory_of
        print(peak_rss_mb(name, int(px), precision))
        return
    if options.quick:
        fast = "bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32"  # emulated bf16 takes minutes
        options.px, options.precision, options.threads, options.turns = [64], [fast], [1], 1
        options.only = ["histosynth", "diffusers"]
    here = f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}"
    print(f"{here}, native bf16 {torch.cpu._is_avx512_bf16_supported()}, load {os.getloadavg()[0]:.1f}")
    result = {}
    for threads in sorted(options.threads, reverse=True):
        torch.set_num_threads(threads)
        for px in options.px:
            for precision in options.precision:
                result = compare(px, precision, threads=threads, options=options)
    print(json.dumps({"name": "denoiser", **result}))


def compare(px: int, precision: str, *, threads: int, options: argparse.Namespace) -> dict[str, object]:
    """Time all available networks, print a table, and return the ratio of histosynth to diffusers."""
    # Networks and the bound
    batch = BATCH[px] // 2 if options.quick else BATCH[px]
    trainees: dict[str, list[Trainee]] = {}
    for name in options.only:
        if name == {"fp32": "guided-diffusion, repaired", "bf16": "guided-diffusion"}[precision]:
            continue
        formats = [torch.channels_last] if name == "histosynth" else list(FORMATS)
        try:
            trainees[name] = [
                Trainee(build(name, px), px=px, batch=batch, precision=precision, layout=f) for f in formats
            ]
        except ImportError as error:
            print(f"{name} is omitted: {error}")
    clock = time.process_time if threads == 1 else time.perf_counter
    bound = batch / convolution_seconds(px, batch, precision, clock)
    # Table
    print(f"\n{px} px, {precision}, batches of {batch}, threads: {threads}; images/s, median of {options.turns}")
    print(f"{'':<30}{'training':>10}{'of bound':>10}{'forward':>10}{'peak MB':>10}   million parameters")
    steps = turns(trainees, Trainee.step, options.turns, clock)
    forwards = turns(trainees, Trainee.forward, options.turns, clock)
    for name, seconds in steps.items():
        rate, forward = (batch / statistics.median(s) for s in (seconds, forwards[name]))
        memory = peak_rss_of_process(name, px, precision, options.peer_path) if options.memory and threads == 1 else ""
        size = sum(p.numel() for p in trainees[name][0].denoiser.parameters()) / 1e6
        print(f"{name:<30}{rate:>10.2f}{rate / bound:>10.0%}{forward:>10.2f}{memory:>10}   {size:.2f}", flush=True)
    print(f"{'convolutions only':<30}{bound:>10.2f}")
    # Result
    if "histosynth" not in steps or "diffusers" not in steps:
        return {}
    ratios = [b / a for a, b in zip(steps["histosynth"], steps["diffusers"], strict=True)]
    return {
        "ratio": round(statistics.median(ratios), 2),
        "low": round(min(ratios), 2),
        "high": round(max(ratios), 2),
        "unit": f"training steps per second over diffusers' UNet2DModel, {px} px, {precision}, threads: {threads}",
        "images_per_s": round(batch / statistics.median(steps["histosynth"]), 2),
        "peer_images_per_s": round(batch / statistics.median(steps["diffusers"]), 2),
        "of_bound": round(batch / statistics.median(steps["histosynth"]) / bound, 2),
        "batch": batch,
        "turns": options.turns,
    }


def turns(
    trainees: dict[str, list[Trainee]], work: Callable[[Trainee], None], count: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Measure the seconds of each network in each turn, in its faster memory format."""
    seconds = {name: [[] for _ in formats] for name, formats in trainees.items()}
    for turn in range(count + 1):
        for name, formats in trainees.items():
            for trainee, format_seconds in zip(formats, seconds[name], strict=True):
                begin = clock()
                work(trainee)
                if turn:  # the first is a warm-up
                    format_seconds.append(clock() - begin)
    return {name: min(formats, key=statistics.median) for name, formats in seconds.items()}


class Convolutions(TorchDispatchMode):
    """A counter of calls of convolutions; those that also resize count as plain ones of the larger image."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[tuple[tuple[int, ...], tuple[int, ...]]] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.convolution.default:
            (n, c, h, w), weight, transposed = args[0].shape, tuple(args[1].shape), args[6]
            self.calls[((n, c, 2 * h, 2 * w), (weight[1], c, 3, 3)) if transposed else ((n, c, h, w), weight)] += 1
        return function(*args, **(kwargs or {}))


def convolution_seconds(px: int, batch: int, precision: str, clock: Callable[[], float]) -> float:
    """Measure the seconds of all convolutions of the network, forward and backward, with nothing in between."""
    with torch.device("meta"), Convolutions() as convolutions:
        histosynth(px)(torch.empty(batch, 3, px, px), torch.empty(batch), torch.empty(batch, dtype=torch.long))
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    total = 0.0
    for (image, kernel), count in convolutions.calls.items():
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


def peak_rss_of_process(name: str, px: int, precision: str, peers: list[Path]) -> str:
    """Measure the memory of a network's training in a separate process, in MB."""
    paths = ["--peer-path", *map(str, peers)] if peers else []
    command = [sys.executable, __file__, "--memory-of", name, str(px), precision, *paths]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def peak_rss_mb(name: str, px: int, precision: str) -> int:
    """Measure the largest resident set of this process after three steps, in MB, in the faster memory format."""
    torch.set_num_threads(1)
    memory_format = torch.channels_last if name == "histosynth" or px > 64 else torch.contiguous_format
    trainee = Trainee(build(name, px), px=px, batch=BATCH[px], precision=precision, layout=memory_format)
    for _ in range(3):
        trainee.step()
    # Linux only: `ru_maxrss` of a child starts from the value of its parent
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
