"""Speed of the Inception features of FID compared with torch-fidelity, with equal images and equal random weights.

Needs `pip install 'histosynth[encoders]'`, but no weights: random ones take as long. Float32 on the CPU, from uint8
images to features, interleaved: each round times torch-fidelity, then histosynth. Prints both rates of each round per
second and per CPU second (on a busy machine rely on the latter, with `--threads 1`, because waiting threads count too),
the medians of the rounds' ratios, and the largest difference between features. Takes about two minutes on two idle
cores, with `--quick` less than one. The last line is JSON: `ratio` is our images per second divided by those of
torch-fidelity, median of the rounds; `low` and `high` are the lowest and the highest.

    .venv/bin/python benchmarks/metrics/inception.py [--quick] [--threads 2] [--images 64] [--rounds 5]
"""

import argparse
import json
import platform
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch_fidelity import feature_extractor_inceptionv3 as peer

from histosynth.metrics.extractors.inception import CPU_CHUNK, INPUT_PX
from histosynth.metrics.extractors.inception_network import InceptionNetwork, resize
from histosynth.metrics.extractors.loading import run_in_chunks

Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def theirs() -> torch.nn.Module:
    """Return torch-fidelity's network with random weights instead of downloaded ones."""

    class Random(peer.FeatureExtractorInceptionV3):
        def load_state_dict(self, *_: object, **__: object) -> None:
            for part in self.modules():
                if isinstance(part, torch.nn.Conv2d):
                    torch.nn.init.kaiming_normal_(part.weight)
                if isinstance(part, torch.nn.BatchNorm2d):
                    part.running_var.uniform_(0.5, 2)
                    part.running_mean.normal_(0, 0.1)

    torch.manual_seed(0)
    peer.load_state_dict_from_url = lambda *_, **__: {}
    return Random("inception-v3-compat", ["2048"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round of eight images")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--px", type=int, default=128, help="side of an image")
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    count, rounds = (8, 1) if options.quick else (options.images, options.rounds)
    torch.set_num_threads(options.threads)
    images = np.random.default_rng(0).integers(0, 256, (count, options.px, options.px, 3), dtype=np.uint8)
    module = theirs()
    network = InceptionNetwork(module.state_dict(), device=torch.device("cpu"))

    @torch.inference_mode()
    def fidelity(block: NDArray[np.uint8]) -> NDArray[np.float32]:
        return module(torch.from_numpy(block).permute(0, 3, 1, 2))[0].numpy()

    def ours(block: NDArray[np.uint8]) -> NDArray[np.float32]:
        def run(x: torch.Tensor) -> dict[str, torch.Tensor]:
            return network((resize(x, size=INPUT_PX) - 128) / 128)

        return run_in_chunks(run, block, device=torch.device("cpu"), cpu_chunk=CPU_CHUNK)["2048"]

    def timed(run: Run) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Return images per second and per CPU second, and the features."""
        clocks = (time.perf_counter, time.process_time)
        start = np.array([clock() for clock in clocks])
        features = [run(images[i : i + options.batch]) for i in range(0, count, options.batch)]
        return count / (np.array([clock() for clock in clocks]) - start), np.concatenate(features)

    # Time both in turn.
    for run in (fidelity, ours):
        run(images[:4])  # the first call allocates
    rates = []
    for _ in range(rounds):
        (a, expected), (b, features) = timed(fidelity), timed(ours)
        rates.append((a, b))
        for unit, x, y in zip(("s", "CPU s"), a, b, strict=True):
            print(f"torch-fidelity {x:6.2f}, histosynth {y:6.2f} images/{unit}: {y / x:.2f} times", flush=True)
    # Summarize.
    difference = float(np.abs(features - expected).max() / np.abs(expected).max())
    a, b = np.median(rates, axis=0)
    ratios = np.array([b / a for a, b in rates])
    (times, cpu_times), low, high = np.median(ratios, axis=0), ratios[:, 0].min(), ratios[:, 0].max()
    result = {
        "name": "inception",
        "ratio": round(float(times), 2), "low": round(float(low), 2), "high": round(float(high), 2),
        "unit": "images per second divided by those of torch-fidelity",
        "images": count, "px": options.px, "threads": options.threads, "rounds": rounds,
        "torch_fidelity_images_s": round(float(a[0]), 2), "histosynth_images_s": round(float(b[0]), 2),
        "torch_fidelity_images_cpu_s": round(float(a[1]), 2), "histosynth_images_cpu_s": round(float(b[1]), 2),
        "cpu_ratio": round(float(cpu_times), 2),
        "largest_relative_difference": difference,
        "machine": platform.processor() or platform.machine(), "torch": torch.__version__,
    }  # fmt: skip
    print(
        f"median {times:.2f} times, by CPU seconds {cpu_times:.2f}; features differ by {difference:.1e} of the largest"
    )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
