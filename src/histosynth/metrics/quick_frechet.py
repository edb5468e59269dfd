"""A quick Fréchet distance to monitor training: few images, compared with the same few real ones every time.

Its expectation falls with the number of images (see `frechet`), so values are comparable within one run only.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from histosynth.metrics.extraction import extract_features
from histosynth.metrics.extractors import FeatureExtractor
from histosynth.metrics.frechet import frechet_distance
from histosynth.metrics.statistics import Statistics
from histosynth.store.store import Store


def quick_frechet(
    store: Store, rows: NDArray[np.int64], *, extractor: FeatureExtractor, images: int, batch: int = 32, seed: int = 0
) -> Callable[[Mapping[str, NDArray[np.uint8]]], float]:
    """Return a function from synthetic images, label -> (N, S, S, 3), to their distance from real patches.

    Args:
        store: the real patches.
        rows: those to draw from.
        extractor: computes the features.
        images: number of real patches to draw; all of them if there are fewer.
        batch: images at a time.
        seed: determines the draw.
    """
    drawn = np.sort(np.random.default_rng(seed).permutation(rows)[:images])
    real: list[Statistics] = []

    def measure(groups: Mapping[str, NDArray[np.uint8]]) -> float:
        if not real:  # at the first call, so that only the process that measures extracts them
            with tqdm(disable=True) as bar:
                features = extract_features(store, drawn, extractor=extractor, batch=batch, progress=bar)
            real.append(Statistics.of(features))
        synthetic = np.concatenate(list(groups.values()))
        fake = [extractor(synthetic[start : start + batch]) for start in range(0, len(synthetic), batch)]
        return frechet_distance(real[0], Statistics.of(np.concatenate(fake)))

    return measure
