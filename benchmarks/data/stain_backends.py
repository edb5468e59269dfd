"""Measure patches per second of the NumPy and torch backends of Macenko normalization, each with one thread.

Patches are noisy mixtures of two stains; no data are needed. It takes half a minute on one core; `--quick` uses a
quarter of the patches. The last line is JSON: patches per second of NumPy and of torch.

    .venv/bin/python benchmarks/data/stain_backends.py [--device cuda] [--quick]
"""

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch

from histosynth.stain import Macenko, tissue_pixels
from histosynth.stain.batched import estimate_batch, normalize_batch
from histosynth.stain.two_stains import TARGET

MACENKO = Macenko()
SHAPES = [(64, 128), (8, 512)]  # number of patches, pixels per side


def patches(count: int, side: int) -> np.ndarray:
    """Draw mixtures of the stains of the target, a third of them glass, with noise, (count, side, side, 3)."""
    rng = np.random.default_rng(0)
    shape = (count, side, side)
    concentrations = rng.uniform(0, 1.5, (*shape, 2)) * (rng.random((*shape, 1)) > 0.33)
    light = 240 * np.exp(-concentrations @ np.array(TARGET.stains)) - 1 + rng.normal(0, 1, (*shape, 3))
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def seconds(work: Callable[[], object]) -> float:
    """Return the shortest of seven runs, after one for warming up."""
    times = []
    for _ in range(8):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times[1:])


def compare(images: np.ndarray, device: torch.device) -> dict[str, tuple[float, float]]:
    """Print and return patches per second of NumPy and torch, for estimating and for applying fits."""
    count, side = images.shape[:2]
    fits = [MACENKO.estimate(tissue_pixels(image.reshape(-1, 3))) for image in images]

    def estimate() -> None:
        for image in images:
            MACENKO.estimate(tissue_pixels(image.reshape(-1, 3)))

    def apply() -> None:
        for image, fit in zip(images, fits, strict=True):
            MACENKO.apply(image, fit)

    rates = {}
    for work, batched in (
        (estimate, lambda: estimate_batch(images, normalizer=MACENKO, device=device)),
        (apply, lambda: normalize_batch(images, normalizer=MACENKO, fits=fits, device=device)),
    ):
        pair = count / seconds(work), count / seconds(batched)
        print(f"{work.__name__:9}{count:3} of {side} px {pair[0]:10.0f} {pair[1]:10.0f}")
        rates[f"{work.__name__}, {side} px"] = pair
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--quick", action="store_true", help="a quarter of the patches")
    arguments = parser.parse_args()
    device, rates = arguments.device, {}
    torch.set_num_threads(1)
    print(f"{'patches per second':20} {'NumPy':>10} {device.type:>10}")
    for count, side in SHAPES:
        rates |= compare(patches(count // 4 if arguments.quick else count, side), device)
    print(json.dumps({"name": "stain_backends", "device": device.type, "patches_per_second": rates}))


if __name__ == "__main__":
    main()
