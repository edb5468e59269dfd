"""Speed of one network on a GPU: training eager and compiled, and evaluations as in sampling; called by `gpu.py`.

    gpu_speed.py NETWORK PX --out JSON [--batch 128] [--device cuda:0] [--modes eager compiled] [--lock FILE]

NETWORK is one of `denoiser_networks.py`, or `tissue`, the model of `gpu_tissue.toml`. All take the training step of
`denoiser.py` in bf16 with data that lie on the device, so drawing and loading are left out. A network that is not ours
is also timed in the contiguous memory format (`contiguous`). Work per image is counted by PyTorch, a backward pass as
two forward passes; the share of the card is relative to a large bf16 matrix product on it. JSON is written again after
each measurement. With `--lock`, scripts that run at a time measure in turn.
"""

import argparse
import fcntl
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from denoiser import Trainee, build
from denoiser_networks import NETWORKS
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from histosynth.config import load_settings
from histosynth.diffusion.build import build_denoiser
from histosynth.diffusion.denoiser import Denoiser

TISSUE = Path(__file__).with_name("gpu_tissue.toml")
WARM_UP = 3
MODES = ("eager", "contiguous", "compiled")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("px", type=int)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=("eager", "compiled"))
    parser.add_argument("--evaluations", type=int, nargs="*", default=[], metavar="BATCH", help="as in sampling")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16", help="of training")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--lock", type=Path)
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    denoiser = _denoiser(options.network, options.px)
    gflop = flop_per_training_image(lambda: _network(options.network, options.px), options.px) / 1e9
    figures: dict[str, Any] = {
        "parameters": sum(each.numel() for each in denoiser.parameters()),
        "gflop_per_image": round(gflop, 1),
        "batch": options.batch,
    }
    trainee = Trainee(
        denoiser,
        px=options.px,
        batch=options.batch,
        precision=options.precision,
        layout=torch.channels_last,
        device=options.device,
    )
    for mode in options.modes:
        figures[mode] = _measure(trainee, mode, gflop=gflop, options=options)
        options.out.write_text(json.dumps(figures, indent=1))
    figures["evaluations_per_s"] = _evaluations(denoiser, options)
    options.out.write_text(json.dumps(figures, indent=1))


def _denoiser(name: str, px: int) -> Denoiser:
    if name != "tissue":
        return build(name, px)
    settings = load_settings(TISSUE)
    return build_denoiser(settings.model, settings.diffusion, image_px=px, labels=3)


def _network(name: str, px: int) -> nn.Module:
    return NETWORKS[name](px) if name in NETWORKS else _denoiser(name, px).network


def flop_per_training_image(build: Callable[[], nn.Module], px: int, *, channels: int = 3) -> int:
    """Count the operations for one image, without running them; a backward pass counts as two forward passes."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network = build()
        network(torch.empty(1, channels, px, px), torch.empty(1), torch.zeros(1, dtype=torch.long))
    return 3 * counter.get_total_flops()


def _measure(trainee: Trainee, mode: str, *, gflop: float, options: argparse.Namespace) -> dict[str, float]:
    """Time training steps; the first one, which may compile, is timed apart and beside other scripts."""
    layout = torch.contiguous_format if mode == "contiguous" else torch.channels_last
    trainee.denoiser.to(memory_format=layout)
    trainee.x = trainee.x.contiguous(memory_format=layout)
    if mode == "compiled":
        trainee.denoiser.network.compile()
    started = time.perf_counter()
    trainee.step()
    first = time.perf_counter() - started
    with _alone(options.lock):
        cuda = options.device.startswith("cuda")
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        seconds = _median_seconds(trainee.step, options.device, repeats=options.repeats)
        peak_gib = torch.cuda.max_memory_allocated() / 2**30 if cuda else 0.0
        card = _matrix_tflops(options.device)
    rate = options.batch / seconds
    return {
        "images_per_s": round(rate, 1),
        "tflops": round(rate * gflop / 1e3, 1),
        "share_of_card": round(rate * gflop / 1e3 / card, 3),
        "peak_gib": round(peak_gib, 2),
        "first_step_s": round(first, 1),
    }


def _evaluations(denoiser: Denoiser, options: argparse.Namespace) -> dict[str, float]:
    """Measure images per second in one evaluation, by batch and precision."""
    rates = {}
    for batch in options.evaluations:
        for precision in ("fp32", "bf16")[: 1 if options.precision == "fp32" else None]:
            trainee = Trainee(
                denoiser, px=options.px, batch=batch, precision=precision, layout=torch.channels_last,
                device=options.device,
            )  # fmt: skip
            with _alone(options.lock):
                seconds = _median_seconds(trainee.forward, options.device, repeats=options.repeats)
            rates[f"{batch} {precision}"] = round(batch / seconds, 1)
    return rates


def _matrix_tflops(device: str) -> float:
    """Measure the rate of a large bf16 matrix product: what the card gives in practice."""
    n = 8192 if device.startswith("cuda") else 256
    a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
    product: Callable[[], Tensor] = lambda: a @ b  # noqa: E731
    return 2 * n**3 / _median_seconds(product, device, repeats=10) / 1e12


def _median_seconds(work: Callable[[], object], device: str, *, repeats: int) -> float:
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    seconds = []
    for repeat in range(repeats + WARM_UP):
        wait()
        started = time.perf_counter()
        work()
        wait()
        if repeat >= WARM_UP:
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


@contextmanager
def _alone(lock: Path | None) -> Iterator[None]:
    """Keep other scripts with the same lock from measuring meanwhile."""
    if lock is None:
        yield
        return
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    main()
