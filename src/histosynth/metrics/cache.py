"""Features kept on disk, so that evaluating the same images again takes seconds.

An entry is named by a hash of everything that determines its values: the bytes of the images in their order, and the
name, weights, preprocessing and output of the extractor. A change to any of them creates another entry, so no entry is
ever out of date, and the directory may be deleted at any time. An entry is a .npy array followed by its SHA-256; an
entry that does not match its SHA-256 is computed again.
"""

import hashlib
import os
import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from histosynth.metrics.extraction import extract_outputs
from histosynth.metrics.extractors import FEATURES, FeatureExtractor
from histosynth.metrics.features import Features
from histosynth.rundir import atomic_write
from histosynth.store.store import Store

_DIGEST = hashlib.sha256().digest_size


def cache_directory(setting: str) -> Path | None:
    """Return the directory that `evaluate.cache` names: the user's own for `auto`, none for `off`."""
    if setting == "off":
        return None
    if setting != "auto":
        return Path(setting)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "histosynth" / "features"


def cached_outputs(
    store: Store,
    rows: Sequence[int] | NDArray[np.int64],
    *,
    extractor: FeatureExtractor,
    batch: int,
    progress: "tqdm[Any]",
    cache: Path | None,
    outputs: Sequence[str] = (FEATURES,),
) -> dict[str, Features]:
    """Return what `extract_outputs` returns, read from `cache` if present and written to it if not.

    Raises:
        HistosynthError: as for `extract_outputs`. A cache that cannot be written is only a warning.
    """
    if cache is None:
        return extract_outputs(store, rows, extractor=extractor, outputs=outputs, batch=batch, progress=progress)
    images = store.images_hash(rows)
    paths = {name: cache / f"{_key(images, extractor, name)}.npy" for name in outputs}
    features = {name: cached for name, path in paths.items() if (cached := _read(path)) is not None}
    missing = [name for name in outputs if name not in features]
    if missing:
        extracted = extract_outputs(store, rows, extractor=extractor, outputs=missing, batch=batch, progress=progress)
        for name, output in extracted.items():
            _write(paths[name], output)
        features |= extracted
    else:
        progress.update(len(rows))
    return features


def _key(images: str, extractor: FeatureExtractor, output: str) -> str:
    facts = (images, extractor.name, extractor.weights_sha256, extractor.preprocessing, output)
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()


def _read(path: Path) -> Features | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    array, digest = content[:-_DIGEST], content[-_DIGEST:]
    if hashlib.sha256(array).digest() != digest:
        return None
    values: NDArray[np.float32] = np.load(BytesIO(array), allow_pickle=False)
    return Features.of(values, name=f"features in {path}", remedy="delete that file")


def _write(path: Path, features: Features) -> None:
    buffer = BytesIO()
    np.save(buffer, features.values, allow_pickle=False)
    try:  # the extraction took long, so its result must not be lost because the cache cannot be written
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(buffer.getvalue())
            file.write(hashlib.sha256(buffer.getvalue()).digest())
    except OSError as error:
        text = (
            f"features are not kept: {path.parent} cannot be written ({error.strerror}); "
            "pass another directory to --cache"
        )
        warnings.warn(text, stacklevel=2)
