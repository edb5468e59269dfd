"""Two figures of samples against the patches that their model was trained on: Fréchet distance, and color drift."""

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


class Judge:
    """Holds what it needs of the training patches of a store: `patches` of them, drawn at random."""

    def __init__(self, store: Store, *, patches: int = 2000) -> None:
        rows = np.array(store.select(split="train"))
        rows = np.sort(np.random.default_rng(0).choice(rows, min(patches, len(rows)), replace=False))
        self.extractor = build_extractor("efficientnet-lite0", device="cpu")
        self.features = Statistics.of(self.features_of(store, rows))
        self.colors = ColorStatistics.of(store.images(rows))

    def features_of(self, store: Store, rows: NDArray[np.int64]) -> Features:
        """Features of these rows, from the user's cache where they are there."""
        with tqdm(total=len(rows), unit="img", desc=f"features of {store.path.name}") as bar:
            cache = cache_directory("auto")
            return cached_outputs(store, rows, extractor=self.extractor, batch=32, progress=bar, cache=cache)[FEATURES]

    def frechet(self, samples: Store) -> tuple[float, float, float]:
        """Fréchet distance of all samples, and of either half of the seeds, whose n is half as large."""
        features = self.features_of(samples, np.arange(len(samples)))
        whole, *halves = (
            frechet_distance(self.features, Statistics.of(part)) for part in (features, features[::2], features[1::2])
        )
        return whole, *halves

    def color(self, samples: Store) -> tuple[float, NDArray[np.float64]]:
        """Color distance, and the shift of the mean (red, green, blue), in optical density."""
        found = ColorStatistics.of(samples.images(range(len(samples))))
        return color_distance(self.colors, found), mean_shift(found, self.colors)
