"""Features kept on disk, so that evaluating the same images again takes seconds.

An entry is a directory named by a hash of the content of the store, and of the name, weights, preprocessing and output
of the extractor. Each of its files holds a block of images, in the order in which they were extracted: the SHA-256 of
each encoded image, and its features. An image is found by its SHA-256, so an evaluation of fewer or more patches of a
store extracts only those that no evaluation has extracted before, and no features are ever out of date. A file ends
with its own SHA-256; one that does not match it is ignored. The directory may be deleted at any time.
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
from histosynth.metrics.extractors import FEATURES, FeatureExtractor, output_widths
from histosynth.metrics.features import Features
from histosynth.rundir import atomic_write
from histosynth.store.store import Store

_DIGEST = hashlib.sha256().digest_size
_BLOCK = 4096  # images per file: an interrupted extraction loses at most these


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
    """Return what `extract_outputs` returns, read from `cache` where present and written to it where not.

    Every output of the extractor is kept, since all come from one pass.

    Raises:
        HistosynthError: as for `extract_outputs`. A cache that cannot be written is only a warning.
    """
    if cache is None or not len(rows):
        return extract_outputs(store, rows, extractor=extractor, outputs=outputs, batch=batch, progress=progress)
    # Find the images that all requested outputs hold.
    rows, images, content = np.asarray(rows, np.int64), store.image_hashes(rows), store.content_hash()
    entries = {name: cache / _key(content, extractor, name) for name in output_widths(extractor)}
    held = {name: _read(entries[name], set(images)) for name in outputs}
    known = np.array([all(image in features for features in held.values()) for image in images], dtype=bool)
    parts: dict[str, list[Features]] = {name: [] for name in outputs}
    if known.any():
        progress.update(int(known.sum()))
        for name, features in held.items():
            values = np.stack([features[image] for image, here in zip(images, known, strict=True) if here])
            parts[name].append(Features.of(values, name=f"features in {entries[name]}", remedy="delete that directory"))
    # Extract the others.
    missing = np.flatnonzero(~known)
    for start in range(0, len(missing), _BLOCK):
        block = missing[start : start + _BLOCK]
        extracted = extract_outputs(
            store, rows[block], extractor=extractor, outputs=list(entries), batch=batch, progress=progress
        )
        for name, directory in entries.items():
            _write(directory, [images[i] for i in block], extracted[name])
        for name in outputs:
            parts[name].append(extracted[name])
    # Restore the order of the rows.
    order = np.argsort(np.concatenate([np.flatnonzero(known), missing]))
    return {name: Features.concatenate(features)[order] for name, features in parts.items()}


def _key(content: str, extractor: FeatureExtractor, output: str) -> str:
    facts = (content, extractor.name, extractor.weights_sha256, extractor.preprocessing, output)
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()


def _read(entry: Path, images: set[bytes]) -> dict[bytes, NDArray[np.float32]]:
    """Return the features of those of these images that the entry holds."""
    features: dict[bytes, NDArray[np.float32]] = {}
    for path in sorted(entry.glob("*.npy")):
        try:
            content = path.read_bytes()
        except OSError:
            continue
        arrays, digest = content[:-_DIGEST], content[-_DIGEST:]
        if hashlib.sha256(arrays).digest() == digest:
            buffer = BytesIO(arrays)
            hashes, values = (np.load(buffer, allow_pickle=False) for _ in range(2))
            rows = zip(map(bytes, hashes), values, strict=True)
            features |= {image: row for image, row in rows if image in images}
    return features


def _write(entry: Path, images: Sequence[bytes], features: Features) -> None:
    hashes, buffer = b"".join(images), BytesIO()
    np.save(buffer, np.frombuffer(hashes, np.uint8).reshape(len(images), _DIGEST), allow_pickle=False)
    np.save(buffer, features.values, allow_pickle=False)
    try:  # the extraction took long, so its result must not be lost because the cache cannot be written
        entry.mkdir(parents=True, exist_ok=True)
        with atomic_write(entry / f"{hashlib.sha256(hashes).hexdigest()}.npy") as file:
            file.write(buffer.getvalue())
            file.write(hashlib.sha256(buffer.getvalue()).digest())
    except OSError as error:
        text = (
            f"features are not kept: {entry.parent} cannot be written ({error.strerror}); "
            "pass another directory to --cache"
        )
        warnings.warn(text, stacklevel=2)
