"""Features kept on disk, so that a second evaluation of the same images takes seconds.

An entry's name is a hash of all that decides its values: the images' bytes in their order, and of the extractor its
name, weights, preprocessing and output. Whatever changes one of them makes another entry, so none is ever out of date;
delete the directory at will. An entry is a .npy array with its own SHA-256 behind it, and one that does not match it
is computed anew.
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
from histosynth.rundir import atomic_write
from histosynth.store.store import Store

_DIGEST = hashlib.sha256().digest_size


def cache_directory(setting: str) -> Path | None:
    """What `evaluate.cache` names: a directory, the user's own for `auto`, none for `off`."""
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
) -> dict[str, NDArray[np.float32]]:
    """What `extract_outputs` gives, taken from `cache` where it is there and put there where it is not.

    Raises:
        HistosynthError: as for `extract_outputs`. A cache that cannot be written is a warning.
    """
    if cache is None:
        return extract_outputs(store, rows, extractor=extractor, outputs=outputs, batch=batch, progress=progress)
    images = store.images_hash(rows)
    places = {name: cache / f"{_key(images, extractor, name)}.npy" for name in outputs}
    found = {name: kept for name, place in places.items() if (kept := _read(place)) is not None}
    missing = [name for name in outputs if name not in found]
    if missing:
        made = extract_outputs(store, rows, extractor=extractor, outputs=missing, batch=batch, progress=progress)
        for name, values in made.items():
            _write(places[name], values)
        found |= made
    else:
        progress.update(len(rows))
    return found


def _key(images: str, extractor: FeatureExtractor, output: str) -> str:
    facts = (images, extractor.name, extractor.weights_sha256, extractor.preprocessing, output)
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()


def _read(path: Path) -> NDArray[np.float32] | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    array, digest = content[:-_DIGEST], content[-_DIGEST:]
    if hashlib.sha256(array).digest() != digest:
        return None
    values: NDArray[np.float32] = np.load(BytesIO(array), allow_pickle=False)
    return values


def _write(path: Path, values: NDArray[np.float32]) -> None:
    buffer = BytesIO()
    np.save(buffer, values, allow_pickle=False)
    try:  # after long work, which must not be lost for want of a place to keep it
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(buffer.getvalue())
            file.write(hashlib.sha256(buffer.getvalue()).digest())
    except OSError as error:
        text = (
            f"features are not kept: {path.parent} cannot be written ({error.strerror}); name another place by --cache"
        )
        warnings.warn(text, stacklevel=2)
