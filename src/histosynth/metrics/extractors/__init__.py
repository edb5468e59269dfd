"""Feature extractors: fixed functions from images to vectors, identified by name and by the hash of their weights.

Third parties register theirs as entry points of the group `histosynth.extractor`.
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
"""Extractor -> the package that downloads its weights."""


class FeatureExtractor(Protocol):
    """Turns images into features, one by one: neither the batch nor its order changes a feature."""

    @property
    def name(self) -> str:
        """Registered name."""

    @property
    def title(self) -> str:
        """Name in a sentence."""

    @property
    def dimension(self) -> int:
        """Number of features per image."""

    @property
    def weights_sha256(self) -> str:
        """Identifies the weights: results of different weights cannot be compared."""

    @property
    def preprocessing(self) -> str:
        """Preprocessing in words: results of different preprocessing cannot be compared either."""

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn (N, H, W, 3) images in [0, 255] into (N, `dimension`) features."""


@runtime_checkable
class MultiOutputExtractor(FeatureExtractor, Protocol):
    """An extractor with more outputs than `features` in the same pass, such as Inception's logits."""

    @property
    def outputs(self) -> Mapping[str, int]:
        """Width of each output by name; `features`, which a call returns, is one of them."""

    def activations(self, images: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        """Turn (N, H, W, 3) images in [0, 255] into each output, (N, width)."""


extractors: Registry[Callable[..., FeatureExtractor]] = Registry("extractor")
"""Extractors by name; each entry builds one on a device (`None`: a GPU if available, else the CPU).

An entry with a parameter `weights` accepts a file of weights. The name of a family ends in a colon: its entry takes the
name of a model first, so that `timm:resnet18` is `extractors["timm:"]("resnet18", device)`.
"""


def build_extractor(name: str, *, device: str | None = None, weights: Path | None = None) -> FeatureExtractor:
    """Build the extractor with this name, which may be `auto` or a member of a family, optionally with a weights file.

    Raises:
        HistosynthError: there is no such extractor or device, or its weights are not available.
    """
    name = resolve_name(name, weights=weights)
    family, colon, member = name.partition(":")
    entry = partial(extractors[family + colon], member) if colon else extractors[name]
    if weights is None:
        return entry(device)
    if "weights" not in signature(entry).parameters:
        raise HistosynthError(f"--weights {weights}: the extractor {name} accepts no weights file; leave out --weights")
    return entry(device, weights=weights)


def resolve_name(name: str, *, weights: Path | None = None) -> str:
    """Resolve `auto`: Inception if its weights are passed or present, else the extractor that needs no download."""
    if name != AUTO:
        return name
    return "inception" if weights or missing_requirement("inception") is None else "efficientnet-lite0"


def missing_requirement(name: str) -> str | None:
    """State what a registered extractor lacks here, and the remedy; None if nothing is known to be missing."""
    if name == "inception":
        from histosynth.metrics.extractors.inception import download_instructions, weights_path

        return None if weights_path().is_file() else f"no weights; {download_instructions(weights_path())}"
    package = DOWNLOADED_BY.get(name)
    if package is None or find_spec(package):
        return None
    return f"{package} is not installed; pip install 'histosynth[encoders]'"


def output_widths(extractor: FeatureExtractor) -> Mapping[str, int]:
    """Return the width of each output by name: `features`, and any others."""
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
