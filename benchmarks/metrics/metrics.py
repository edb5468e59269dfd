"""Speed, memory and results of the measures compared with other packages, in one run on the same arrays.

Rows: the Fréchet distance of two Gaussians of 2048 features, given means and covariances (of 4096 images), compared
with SciPy's `sqrtm`, the usual method; mean and covariance themselves, which both methods need, compared with NumPy;
precision and recall of 10,000 images per side compared with torch-fidelity, with the memory beyond the features.
Features are random, non-negative and correlated, like those of Inception. The sides alternate, each turn in a process
of its own on one thread; seconds are processor seconds, which depend little on other load. Ratios are those of medians,
with the lowest and the highest of single turns. Needs the `dev` extra. Takes five minutes; `--quick` takes half a
minute with fewer features, and shows only that the script runs.

    .venv/bin/python benchmarks/metrics/metrics.py [--quick] [--turns 3]

The last line is JSON: `ratio` is that of the Fréchet distance: the peer's time divided by ours.
"""

import argparse
import json
import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histosynth.metrics.frechet import frechet_distance
from histosynth.metrics.manifold import precision_recall
from histosynth.metrics.statistics import Statistics

Outcome = tuple[float, float, Any]  # processor seconds, MiB beyond the features, result


def features(seed: int, *, images: int, dimension: int) -> NDArray[np.float32]:
    mix = np.random.default_rng(0).gamma(0.3, size=(256, dimension)) * np.exp(-np.arange(256) / 40)[:, None]
    rng, values = np.random.default_rng(seed), np.empty((images, dimension), np.float32)
    for block in np.split(values, range(250, images, 250)):  # in blocks, so that this does not determine peak memory
        inner = 0.1 * seed**0.1 * rng.normal(size=(len(block), 256)) @ mix
        block[:] = np.maximum(0, inner + 0.4 * rng.normal(size=block.shape))
    return values


def moments(seed: int, dimension: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    statistics = Statistics.of(features(seed, images=2 * dimension, dimension=dimension))
    return statistics.mean, statistics.covariance


def timed(call: Callable[[], Any]) -> Outcome:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    result = call()
    seconds = time.process_time() - start
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, result


def frechet_ours(dimension: int) -> Outcome:
    (mean, covariance), (other_mean, other_covariance) = moments(1, dimension), moments(2, dimension)
    return timed(
        lambda: frechet_distance(
            Statistics.from_moments(mean, covariance, n=2 * dimension),
            Statistics.from_moments(other_mean, other_covariance, n=2 * dimension),
        )
    )


def frechet_sqrtm(dimension: int) -> Outcome:
    from scipy.linalg import sqrtm

    (mean, covariance), (other_mean, other_covariance) = moments(1, dimension), moments(2, dimension)

    def distance() -> float:
        root = sqrtm(covariance @ other_covariance).real
        return float(np.sum((mean - other_mean) ** 2) + np.trace(covariance + other_covariance - 2 * root))

    return timed(distance)


def statistics_ours(images: int, dimension: int) -> Outcome:
    x = features(1, images=images, dimension=dimension)
    return timed(lambda: float(np.sum(Statistics.of(x).factor ** 2)))


def statistics_numpy(images: int, dimension: int) -> Outcome:
    x = features(1, images=images, dimension=dimension)
    return timed(lambda: float(np.trace(np.cov(x, rowvar=False, dtype=np.float64))))


def manifold_ours(images: int, dimension: int) -> Outcome:
    real, fake = (features(seed, images=images, dimension=dimension) for seed in (1, 2))

    def measure() -> tuple[float, float]:
        shares = precision_recall(real, fake)
        return shares.precision, shares.recall

    return timed(measure)


def manifold_torch_fidelity(images: int, dimension: int) -> Outcome:
    import torch
    from torch_fidelity.metric_prc import calculate_precision_recall_full

    real, fake = (torch.from_numpy(features(seed, images=images, dimension=dimension)) for seed in (1, 2))
    return timed(lambda: calculate_precision_recall_full(fake, real, 3, 10_000))


def row(
    name: str, ours: Callable[..., Outcome], peer: Callable[..., Outcome], *size: int, turns: int
) -> dict[str, Any]:
    """Time both sides alternately, each turn in a new process; print and return their medians and the ratio."""
    outcomes: list[tuple[Outcome, Outcome]] = []
    for _ in range(turns):
        pair = []
        for side in (ours, peer):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
                pair.append(fresh.submit(side, *size).result())
        outcomes.append((pair[0], pair[1]))
    mine, theirs = (np.array([outcome[i][:2] for outcome in outcomes]) for i in (0, 1))
    ratios = theirs[:, 0] / mine[:, 0]
    result = {
        "ratio": round(float(np.median(theirs[:, 0]) / np.median(mine[:, 0])), 2),
        "low": round(float(ratios.min()), 2),
        "high": round(float(ratios.max()), 2),
        "seconds": [round(float(np.median(side[:, 0])), 3) for side in (mine, theirs)],
        "mib": [round(float(np.median(side[:, 1]))) for side in (mine, theirs)],
        "values": [outcomes[0][0][2], outcomes[0][1][2]],
    }
    size_text = " x ".join(map(str, size))
    print(f"{name} ({size_text}): {result['ratio']:g} x as fast ({result['low']:g} to {result['high']:g})", flush=True)
    columns = result["seconds"], result["mib"], result["values"]
    for side, seconds, mib, value in zip(("ours", "peer"), *columns, strict=True):
        print(f"  {side}: {seconds:.2f} s, at most {mib} MiB beyond its input, {value}", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="512 features, 2000 images")
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read by the process of each turn
    images, dimension, turns = (2000, 512, 2) if options.quick else (10_000, 2048, options.turns)
    rows = {
        "frechet": row("Fréchet distance", frechet_ours, frechet_sqrtm, dimension, turns=turns),
        "statistics": row("mean and covariance", statistics_ours, statistics_numpy, images, dimension, turns=turns),
        "manifold": row("precision, recall", manifold_ours, manifold_torch_fidelity, images, dimension, turns=turns),
    }
    head = {key: rows["frechet"][key] for key in ("ratio", "low", "high")}
    name = "frechet_distance_vs_scipy_sqrtm"
    print(json.dumps({"name": name, **head, "unit": "x as fast", "features": dimension, "rows": rows}))


if __name__ == "__main__":
    main()
