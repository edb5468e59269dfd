"""Feature extractors: fixed functions from images to vectors, known by their name and the hash of their weights.

A third party adds its own as an entry point of the group `histosynth.extractor`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from histosynth.errors import HistosynthError
from histosynth.registry import Registry

AUTO = "auto"
FEATURES = "features"
DOWNLOADED_BY = {"clip": "torch_fidelity", "dinov2": "torch_fidelity", "hf-hub:": "timm", "timm:": "timm"}
"""Extractors whose weights another package fetches, and that package."""


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


@runtime_checkable
class MultiOutputExtractor(FeatureExtractor, Protocol):
    """An extractor that gives more than `features` in the same pass, such as Inception's logits."""

    @property
    def outputs(self) -> Mapping[str, int]:
        """Width of each output by its name; `features` is among them, and what a plain call gives."""

    def activations(self, images: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        """(N, H, W, 3) images in [0, 255] to each output (N, width)."""


extractors: Registry[Callable[..., FeatureExtractor]] = Registry("extractor")
"""Extractors by name; each entry builds one on a device (`None`: a GPU where there is one, else the CPU).

An entry that has a parameter `weights` takes a file of weights. The name of a family ends in a colon: its entry takes
the name of a model first, so that `timm:resnet18` is `extractors["timm:"]("resnet18", device)`.
"""


def build_extractor(name: str, *, device: str | None = None, weights: Path | None = None) -> FeatureExtractor:
    """The extractor of this name, `auto` and the members of families included, with weights from a file if given.

    Raises:
        HistosynthError: there is no such extractor, its weights cannot be had, or there is no such device.
    """
    name = resolve_name(name, weights=weights)
    family, colon, member = name.partition(":")
    entry = partial(extractors[family + colon], member) if colon else extractors[name]
    if weights is None:
        return entry(device)
    if "weights" not in signature(entry).parameters:
        raise HistosynthError(f"--weights {weights}: the extractor {name} takes none from a file")
    return entry(device, weights=weights)


def resolve_name(name: str, *, weights: Path | None = None) -> str:
    """What `auto` stands for here: Inception with its weights given or at hand, else the one that needs no download."""
    if name != AUTO:
        return name
    return "inception" if weights or missing_requirement("inception") is None else "efficientnet-lite0"


def missing_requirement(name: str) -> str | None:
    """What a registered extractor lacks here, in words, with the mend; None if it can be built, or tried at least."""
    if name == "inception":
        from histosynth.metrics.extractors.inception import download_instructions, weights_path

        return None if weights_path().is_file() else f"no weights; {download_instructions(weights_path())}"
    package = DOWNLOADED_BY.get(name)
    if package is None or find_spec(package):
        return None
    return f"{package} is not installed; pip install 'histosynth[encoders]'"


def output_widths(extractor: FeatureExtractor) -> Mapping[str, int]:
    """Width of each output by its name: `features`, and what else the extractor gives."""
    return extractor.outputs if isinstance(extractor, MultiOutputExtractor) else {FEATURES: extractor.dimension}


@extractors.register("efficientnet-lite0")
def _efficientnet_lite0(device: str | None) -> FeatureExtractor:
    from histosynth.metrics.extractors.efficientnet_lite0 import EfficientNetLite0

    return EfficientNetLite0(device)


@extractors.register("inception")
def _inception(device: str | None, weights: Path | None = None) -> FeatureExtractor:
    from histosynth.metrics.extractors.inception import Inception

    return Inception(device, weights)


@extractors.register("dinov2")
def _dinov2(device: str | None, weights: Path | None = None) -> FeatureExtractor:
    from histosynth.metrics.extractors.encoders import from_torch_fidelity

    return from_torch_fidelity("dinov2", device=device, weights=weights)


@extractors.register("clip")
def _clip(device: str | None, weights: Path | None = None) -> FeatureExtractor:
    from histosynth.metrics.extractors.encoders import from_torch_fidelity

    return from_torch_fidelity("clip", device=device, weights=weights)


@extractors.register("timm:")
def _timm(model: str, device: str | None, weights: Path | None = None) -> FeatureExtractor:
    from histosynth.metrics.extractors.encoders import from_timm

    return from_timm(model, source="timm", device=device, weights=weights)


@extractors.register("hf-hub:")
def _hf_hub(model: str, device: str | None, weights: Path | None = None) -> FeatureExtractor:
    from histosynth.metrics.extractors.encoders import from_timm

    return from_timm(model, source="hf-hub", device=device, weights=weights)
