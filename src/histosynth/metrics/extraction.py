"""Extraction of features from the images of a store."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from histosynth.errors import HistosynthError
from histosynth.metrics.extractors import FEATURES, FeatureExtractor, MultiOutputExtractor, output_widths
from histosynth.metrics.features import Features
from histosynth.store.store import Store


def extract_features(
    store: Store,
    rows: Sequence[int] | NDArray[np.int64],
    *,
    extractor: FeatureExtractor,
    batch: int,
    progress: "tqdm[Any]",
) -> Features:
    """Return the features (N, D) of these rows of a store, in their order.

    Images are decoded and processed `batch` at a time; the batch size changes the speed, not the features (to 1e-5).
    `progress` advances by the images done.

    Raises:
        HistosynthError: the extractor returns features that are not finite, or an image of the store is damaged.
    """
    outputs = (FEATURES,)
    return extract_outputs(store, rows, extractor=extractor, outputs=outputs, batch=batch, progress=progress)[FEATURES]


def extract_outputs(
    store: Store,
    rows: Sequence[int] | NDArray[np.int64],
    *,
    extractor: FeatureExtractor,
    outputs: Sequence[str],
    batch: int,
    progress: "tqdm[Any]",
) -> dict[str, Features]:
    """Return several outputs of the extractor, each (N, its width), in one pass; otherwise like `extract_features`.

    Raises:
        HistosynthError: as for `extract_features`, or the extractor has no such output.
    """
    # Check the names of the outputs.
    widths = output_widths(extractor)
    for name in outputs:
        if name not in widths:
            raise HistosynthError(f"the extractor {extractor.name} has no output {name}; it has {', '.join(widths)}")
    # Extract block by block.
    arrays = {name: np.empty((len(rows), widths[name]), dtype=np.float32) for name in outputs}
    for start in range(0, len(rows), batch):
        block = slice(start, start + batch)
        images = store.images(rows[block])
        if isinstance(extractor, MultiOutputExtractor):
            activations = extractor.activations(images)
        else:
            activations = {FEATURES: extractor(images)}
        for name, values in arrays.items():
            values[block] = activations[name]
        progress.update(len(images))
    return {
        name: Features.of(values, name=f"{extractor.name} outputs ({name}) for {store.path}", remedy="try --device cpu")
        for name, values in arrays.items()
    }
