"""A quick Fréchet distance, to follow a model in training: few images, against the same few real ones every time.

Its expectation falls with the number of images (see `frechet`), so it is comparable within one run alone.
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
    """What measures synthetic images, label -> (N, S, S, 3), against real patches.

    Args:
        store: of the real patches.
        rows: those to draw from.
        extractor: of the features.
        images: how many to draw; all where there are fewer.
        batch: images at a time.
        seed: of the draw.
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(rows)[:images])
    real: list[Statistics] = []

    def measure(groups: Mapping[str, NDArray[np.uint8]]) -> float:
        if not real:  # at the first call, so that only the process that measures pays
            with tqdm(disable=True) as bar:
                found = extract_features(store, chosen, extractor=extractor, batch=batch, progress=bar)
            real.append(Statistics.of(found))
        made = np.concatenate(list(groups.values()))
        fake = [extractor(made[start : start + batch]) for start in range(0, len(made), batch)]
        return frechet_distance(real[0], Statistics.of(np.concatenate(fake)))

    return measure
