"""Features of the images of a store, through an extractor."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from histosynth.errors import HistosynthError
from histosynth.metrics.extractors import FEATURES, FeatureExtractor, MultiOutputExtractor, output_widths
from histosynth.store.store import Store


def extract_features(
    store: Store,
    rows: Sequence[int] | NDArray[np.int64],
    *,
    extractor: FeatureExtractor,
    batch: int,
    progress: "tqdm[Any]",
) -> NDArray[np.float32]:
    """Features (N, D) of these rows of a store, in their order, decoded and run `batch` at a time.

    `progress` is advanced by the images done. The batch size changes the speed, not the features (to 1e-5).

    Raises:
        HistosynthError: the extractor gives features that are not finite, or a store's image is damaged.
    """
    wanted = (FEATURES,)
    return extract_outputs(store, rows, extractor=extractor, outputs=wanted, batch=batch, progress=progress)[FEATURES]


def extract_outputs(
    store: Store,
    rows: Sequence[int] | NDArray[np.int64],
    *,
    extractor: FeatureExtractor,
    outputs: Sequence[str],
    batch: int,
    progress: "tqdm[Any]",
) -> dict[str, NDArray[np.float32]]:
    """These outputs of the extractor, each (N, its width), in one pass over the images; else as `extract_features`.

    Raises:
        HistosynthError: as for `extract_features`, or the extractor has no such output.
    """
    widths = output_widths(extractor)
    for name in outputs:
        if name not in widths:
            raise HistosynthError(f"the extractor {extractor.name} gives no {name}; it gives {', '.join(widths)}")
    found = {name: np.empty((len(rows), widths[name]), dtype=np.float32) for name in outputs}
    for start in range(0, len(rows), batch):
        block = slice(start, start + batch)
        images = store.images(rows[block])
        given = (
            extractor.activations(images)
            if isinstance(extractor, MultiOutputExtractor)
            else {FEATURES: extractor(images)}
        )
        for name, values in found.items():
            values[block] = given[name]
        progress.update(len(images))
    if not all(np.isfinite(values).all() for values in found.values()):
        raise HistosynthError(
            f"the extractor {extractor.name} gave features of {store.path} that are not finite; try --device cpu"
        )
    return found
