"""Feature extractors: fixed functions from images to vectors, known by their name and the hash of their weights.

A third party adds its own as an entry point of the group `histosynth.extractor`.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from histosynth.registry import Registry


class FeatureExtractor(Protocol):
    """Turns images into features, each image for itself: neither the batch nor its order changes a feature."""

    @property
    def name(self) -> str:
        """The name it is registered under."""

    @property
    def title(self) -> str:
        """The name it has in a sentence."""

    @property
    def dimension(self) -> int:
        """Number of features an image."""

    @property
    def weights_sha256(self) -> str:
        """Identifies the weights: figures of different weights cannot be compared."""

    @property
    def preprocessing(self) -> str:
        """How an image becomes the input, in words: figures of different preprocessing cannot be compared either."""

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, H, W, 3) images in [0, 255] to (N, `dimension`) features."""


extractors: Registry[Callable[[str | None], FeatureExtractor]] = Registry("extractor")
"""Extractors by name; each entry builds one on a device (`None`: a GPU where there is one, else the CPU)."""


@extractors.register("efficientnet-lite0")
def _efficientnet_lite0(device: str | None) -> FeatureExtractor:
    from histosynth.metrics.extractors.efficientnet_lite0 import EfficientNetLite0

    return EfficientNetLite0(device)
