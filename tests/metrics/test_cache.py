"""Cached features equal computed ones, never belong to another store, and survive damage to the cache."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tqdm import tqdm

from histosynth.errors import HistosynthError
from histosynth.metrics import cache
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


def outputs(store, rows, extractor, directory, *names):
    with tqdm(total=len(rows)) as bar:
        features = cached_outputs(
            store, rows, extractor=extractor, batch=4, progress=bar, cache=directory, outputs=names or ("features",)
        )
        assert bar.n == len(rows)
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


def test_only_images_of_no_earlier_call_are_extracted(store, tmp_path):
    extractor, extracted = Moments(), []
    for rows in ([0, 1, 2], [2, 0], [5, 1, 4, 2], range(6)):
        features = outputs(store, rows, extractor, tmp_path, "features", "spread")
        images = store.images(rows).astype(np.float64)
        np.testing.assert_allclose(features["features"], images.mean((1, 2)), rtol=1e-5)
        np.testing.assert_allclose(features["spread"], images.std((1, 2)), rtol=1e-5)
        extracted.append(extractor.seen)
    assert extracted == [3, 3, 5, 6]
    assert outputs(store, [], extractor, tmp_path)["features"].shape == (0, 3)


def test_the_extractor_determines_the_entry(store, tmp_path):
    outputs(store, [0, 1], Moments(), tmp_path)
    for other in (Moments(name="x"), Moments(weights_sha256="x"), Moments(preprocessing="x")):
        outputs(store, [0, 1], other, tmp_path)
        assert other.seen == 2


def test_another_image_in_a_store_that_states_the_same_content_is_extracted(store, tmp_path, monkeypatch):
    """The content of a store is a statement of its files; an image is found by its own bytes."""
    monkeypatch.setattr(Store, "content_hash", lambda self: "forged")
    other = tmp_path / "other"
    other.mkdir()
    write_part(part_path(other, "one"), [replace(store.patch(0), image=255 - store.patch(0).image)], fingerprint="test")
    write_manifest(other, {"settings": {"patch_px": 8}})
    extractor = Moments()
    first, second = (outputs(s, [0], extractor, tmp_path / "c")["features"] for s in (store, Store(other)))
    np.testing.assert_allclose(second, 255 - first, rtol=1e-5)


def test_an_interrupted_extraction_keeps_its_blocks(store, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_BLOCK", 2)

    class Interrupted(Moments):
        def activations(self, images):
            if self.seen >= 4:
                raise KeyboardInterrupt
            return super().activations(images)

    with pytest.raises(KeyboardInterrupt):
        outputs(store, range(6), Interrupted(), tmp_path)
    resumed = Moments()
    features = outputs(store, range(6), resumed, tmp_path)["features"]
    assert resumed.seen == 2
    np.testing.assert_allclose(features, store.images(range(6)).mean((1, 2)), rtol=1e-5)


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:50],
        lambda b: b"",
        lambda b: b[:140] + bytes([b[140] ^ 1]) + b[141:],
        lambda b: b[:-40] + bytes([b[-40] ^ 1]) + b[-39:],
    ],
)
def test_a_damaged_file_is_computed_again(store, tmp_path, damage):
    extractor = Moments()
    expected = outputs(store, [0, 1, 2], extractor, tmp_path / "c")["features"]
    files = {path: path.read_bytes() for path in (tmp_path / "c").rglob("*.npy")}
    assert len(files) == 2, "one per output"
    for path, whole in files.items():
        path.write_bytes(damage(whole))
    np.testing.assert_array_equal(outputs(store, [0, 1, 2], extractor, tmp_path / "c")["features"], expected)
    assert extractor.seen == 6
    assert {path: path.read_bytes() for path in (tmp_path / "c").rglob("*.npy")} == files


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
