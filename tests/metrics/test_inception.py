"""Inception compared with that of torch-fidelity, with equal random weights, as no package contains the real ones."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from histosynth.errors import HistosynthError
from histosynth.metrics.extractors import (
    MultiOutputExtractor,
    build_extractor,
    inception,
    missing_requirement,
    output_widths,
    resolve_name,
)
from histosynth.metrics.extractors.inception import Inception
from histosynth.metrics.extractors.inception_network import InceptionNetwork, resize

LAYERS = ("64", "192", "768", "2048", "logits_unbiased", "logits")


@pytest.fixture(scope="module")
def peer() -> torch.nn.Module:
    """Return torch-fidelity's extractor with seeded weights whose spread keeps activations alive up to the logits."""
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network: torch.nn.Module = module.FeatureExtractorInceptionV3("inception-v3-compat", list(LAYERS))
    seed = torch.Generator().manual_seed(0)
    for part in network.modules():
        if isinstance(part, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(part.weight, generator=seed)
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1, generator=seed)
            part.running_var.uniform_(0.5, 2, generator=seed)
            part.weight.data.uniform_(0.5, 1.5, generator=seed)
            part.bias.data.normal_(0, 0.1, generator=seed)
    return network


@pytest.fixture
def weights(peer: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file with these weights that is accepted as the real one."""
    path = tmp_path / "inception.pth"
    torch.save(peer.state_dict(), path)
    monkeypatch.setattr(inception, "WEIGHTS_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def expected(peer: torch.nn.Module, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Return torch-fidelity's outputs for the images, and the activations of the layer of sFID from a hook."""
    passed: list[torch.Tensor] = []
    hook = peer.Mixed_6d.branch1x1.register_forward_hook(lambda *arguments: passed.append(arguments[-1]))
    with torch.inference_mode():
        outputs = dict(zip(LAYERS, peer(torch.from_numpy(images).permute(0, 3, 1, 2)), strict=True))
    hook.remove()
    return {name: x.numpy() for name, x in outputs.items()} | {"mixed_6": passed[0].numpy()}


def assert_same(actual: NDArray[Any], expected: NDArray[Any]) -> None:
    assert actual.shape == expected.shape
    assert np.std(expected) > 1e-2, "dead activations would agree whatever the network"
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_every_layer_agrees_with_torch_fidelity(peer, images, expected):
    network = InceptionNetwork(peer.state_dict(), device=torch.device("cpu"))
    with torch.inference_mode():
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float()
        outputs = network((resize(x, size=299) - 128) / 128)
    for layer in LAYERS:
        assert_same(outputs[layer].numpy(), expected[layer])


def test_outputs_are_the_layers_of_the_measures(weights, images, expected):
    extractor = build_extractor("inception", device="cpu", weights=weights)
    assert isinstance(extractor, MultiOutputExtractor)
    outputs = extractor.activations(images)
    assert {name: x.shape[1] for name, x in outputs.items()} == dict(output_widths(extractor))
    assert_same(outputs["features"], expected["2048"])
    assert_same(outputs["logits"], expected["logits_unbiased"])
    assert_same(outputs["spatial"], expected["mixed_6"].transpose(0, 2, 3, 1)[..., :7].reshape(3, 17 * 17 * 7))
    np.testing.assert_array_equal(extractor(images), outputs["features"])
    np.testing.assert_allclose(extractor(images[2:])[0], outputs["features"][2], atol=1e-4 * outputs["features"].max())


@pytest.mark.parametrize("side", [31, 128, 299, 512])
def test_resizing_agrees_with_tensorflow_1(side):
    """Pixel i of 299 reads position i · side / 299 of the image, interpolated between two pixels."""
    image = np.random.default_rng(side).uniform(0, 255, (side, side))
    at = np.arange(299) * side / 299
    low, part = np.floor(at).astype(int), at - np.floor(at)
    high = np.minimum(low + 1, side - 1)
    rows = image[low] * (1 - part)[:, None] + image[high] * part[:, None]
    by_hand = rows[:, low] * (1 - part) + rows[:, high] * part
    resized = resize(torch.from_numpy(image)[None, None], size=299)[0, 0].numpy()
    np.testing.assert_allclose(resized, by_hand, atol=1e-9 * 255)


def test_other_weights_are_rejected(tmp_path):
    torch.save({"fc.weight": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(HistosynthError, match=r"SHA-256 .*, not 6726825d0af5.*--weights"):
        Inception("cpu", tmp_path / "w.pth")
    with pytest.raises(HistosynthError, match="cannot be read"):
        Inception("cpu", tmp_path / "absent.pth")


def test_without_internet_the_error_states_the_file_and_its_path(monkeypatch):
    def offline(*_: Any, **__: Any) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(HistosynthError) as error:
        Inception("cpu")
    text = str(error.value)
    assert inception.URL in text
    assert str(inception.weights_path()) in text
    assert "Name or service not known" in text
    assert len(text.splitlines()) == 1


def test_auto_is_inception_if_its_weights_are_present_and_never_downloads(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert resolve_name("auto") == "efficientnet-lite0"
    assert inception.URL in str(missing_requirement("inception"))
    assert resolve_name("auto", weights=tmp_path / "w.pth") == "inception"
    for name in (inception.FILE_NAME, "pt_inception-2015-12-05-6726825d.pth"):
        place = tmp_path / "hub" / "checkpoints" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
        assert (resolve_name("auto"), missing_requirement("inception"), inception.weights_path()) == (
            "inception",
            None,
            place,
        )
        place.unlink()
    assert resolve_name("clip") == "clip"


def test_an_extractor_without_a_weights_option_rejects_weights(tmp_path):
    with pytest.raises(HistosynthError, match=r"efficientnet-lite0 accepts no weights file"):
        build_extractor("efficientnet-lite0", device="cpu", weights=tmp_path / "w.pth")
