"""Fréchet distance and color drift of samples relative to the training patches of their model."""

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from histosynth.metrics.cache import cache_directory, cached_outputs
from histosynth.metrics.color import ColorStatistics, color_distance, mean_shift
from histosynth.metrics.extractors import FEATURES, build_extractor
from histosynth.metrics.features import Features
from histosynth.metrics.frechet import frechet_distance
from histosynth.metrics.statistics import Statistics
from histosynth.store.store import Store


class TrainingReference:
    """Features and colors of a random sample of the training patches of a store; `patches` is its size."""

    def __init__(self, store: Store, *, patches: int = 2000) -> None:
        rows = np.array(store.select(split="train"))
        rows = np.sort(np.random.default_rng(0).choice(rows, min(patches, len(rows)), replace=False))
        self.extractor = build_extractor("efficientnet-lite0", device="cpu")
        self.features = Statistics.of(self.features_of(store, rows))
        self.colors = ColorStatistics.of(store.images(rows))

    def features_of(self, store: Store, rows: NDArray[np.int64]) -> Features:
        """Compute features of these rows, or read them from the user's cache."""
        with tqdm(total=len(rows), unit="img", desc=f"features of {store.path.name}") as bar:
            cache = cache_directory("auto")
            return cached_outputs(store, rows, extractor=self.extractor, batch=32, progress=bar, cache=cache)[FEATURES]

    def frechet(self, samples: Store) -> tuple[float, float, float]:
        """Compute the Fréchet distance of all samples, and of each half of the seeds, where n is half as large."""
        features = self.features_of(samples, np.arange(len(samples)))
        overall, *halves = (
            frechet_distance(self.features, Statistics.of(part)) for part in (features, features[::2], features[1::2])
        )
        return overall, *halves

    def color(self, samples: Store) -> tuple[float, NDArray[np.float64]]:
        """Compute the color distance and the shift of the mean (red, green, blue), in optical density."""
        colors = ColorStatistics.of(samples.images(range(len(samples))))
        return color_distance(self.colors, colors), mean_shift(colors, self.colors)
