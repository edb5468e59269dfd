"""Cached features equal computed ones, never belong to another store, and survive damage to the cache."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tqdm import tqdm

from histosynth.errors import HistosynthError
from histosynth.metrics.cache import cache_directory, cached_outputs
from histosynth.metrics.extraction import extract_outputs
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.store import Store, write_manifest


@dataclass
class Moments:
    """Two outputs in one pass: the means of the channels, and their standard deviations."""

    name: str = "moments"
    title: str = "Moments"
    dimension: int = 3
    weights_sha256: str = "none"
    preprocessing: str = "none"
    outputs: dict[str, int] = field(default_factory=lambda: {"features": 3, "spread": 3})
    seen: int = 0

    def activations(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        self.seen += len(images)
        x = images.astype(np.float32)
        return {"features": x.mean((1, 2)), "spread": x.std((1, 2))}

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self.activations(images)["features"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    rows = [Patch(patch_id=str(i), image=image, source="real") for i, image in enumerate(images)]
    directory = tmp_path / "store"
    directory.mkdir()
    write_part(part_path(directory, "one"), rows, fingerprint="test")
    write_manifest(directory, {"settings": {"patch_px": 8}})
    return Store(directory)


def outputs(store, rows, extractor, cache, *names):
    with tqdm(total=len(rows), disable=True) as bar:
        features = cached_outputs(
            store, rows, extractor=extractor, batch=4, progress=bar, cache=cache, outputs=names or ("features",)
        )
    return {name: output.values for name, output in features.items()}


def test_the_second_call_extracts_no_image(store, tmp_path):
    extractor, rows = Moments(), [4, 0, 1, 2, 3]
    first = outputs(store, rows, extractor, tmp_path / "c", "features", "spread")
    second = outputs(store, rows, extractor, tmp_path / "c", "spread", "features")
    assert extractor.seen == 5
    images = store.images(rows).astype(np.float64)
    for features in (first, second):
        np.testing.assert_allclose(features["features"], images.mean((1, 2)), rtol=1e-5)
        np.testing.assert_allclose(features["spread"], images.std((1, 2)), rtol=1e-5)
    assert second["features"].dtype == np.float32


def test_everything_that_determines_a_feature_determines_the_entry(store, tmp_path):
    first = Moments()
    outputs(store, [0, 1], first, tmp_path)
    others = [Moments(name="x"), Moments(weights_sha256="x"), Moments(preprocessing="x")]
    for other in others:
        outputs(store, [0, 1], other, tmp_path)
        assert other.seen == 2
    for rows in ([1, 0], [0, 2], [0]):
        features = outputs(store, rows, first, tmp_path)["features"]
        np.testing.assert_allclose(features, store.images(rows).mean((1, 2)), rtol=1e-5)
    assert first.seen == 7
    outputs(store, [0, 1], first, tmp_path, "spread")
    assert first.seen == 9, "another output is another entry"


@pytest.mark.parametrize("damage", [lambda b: b[:50], lambda b: b"", lambda b: b[:140] + bytes([b[140] ^ 1]) + b[141:]])
def test_a_damaged_entry_is_computed_again(store, tmp_path, damage):
    extractor = Moments()
    expected = outputs(store, [0, 1, 2], extractor, tmp_path / "c")["features"]
    (entry,) = (tmp_path / "c").iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    np.testing.assert_array_equal(outputs(store, [0, 1, 2], extractor, tmp_path / "c")["features"], expected)
    assert extractor.seen == 6
    assert entry.read_bytes() == whole


def test_a_cache_that_cannot_be_written_loses_no_features(store, tmp_path):
    (tmp_path / "c").write_text("a file")
    with pytest.warns(UserWarning, match="not kept"):
        features = outputs(store, [0, 1], Moments(), tmp_path / "c")
    assert features["features"].shape == (2, 3)


def test_cache_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory("auto") == tmp_path / "histosynth" / "features"
    assert cache_directory("off") is None
    assert cache_directory("here/there") == Path("here/there")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_directory("auto") == Path.home() / ".cache" / "histosynth" / "features"


def test_an_unknown_output_is_rejected(store):
    with pytest.raises(HistosynthError, match=r"moments has no output logits; it has features, spread"):
        extract_outputs(store, [0], extractor=Moments(), outputs=["logits"], batch=1, progress=tqdm(disable=True))
