"""The Inception of FID against torch-fidelity's, with the same random weights: no package carries the real ones."""

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
    """torch-fidelity's extractor with seeded weights of a spread that keeps activations alive down to the logits."""
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
    """These weights as a file that passes for the real one."""
    path = tmp_path / "inception.pth"
    torch.save(peer.state_dict(), path)
    monkeypatch.setattr(inception, "WEIGHTS_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def expected(peer: torch.nn.Module, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """What torch-fidelity makes of the images, and by a hook what passes through the layer of sFID."""
    passed: list[torch.Tensor] = []
    hook = peer.Mixed_6d.branch1x1.register_forward_hook(lambda *given: passed.append(given[-1]))
    with torch.inference_mode():
        found = dict(zip(LAYERS, peer(torch.from_numpy(images).permute(0, 3, 1, 2)), strict=True))
    hook.remove()
    return {name: x.numpy() for name, x in found.items()} | {"mixed_6": passed[0].numpy()}


def assert_same(found: NDArray[Any], expected: NDArray[Any]) -> None:
    assert found.shape == expected.shape
    assert np.std(expected) > 1e-2, "dead activations would agree whatever the network"
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_every_layer_is_torch_fidelitys(peer, images, expected):
    network = InceptionNetwork(peer.state_dict(), device=torch.device("cpu"))
    with torch.inference_mode():
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float()
        found = network((resize(x, size=299) - 128) / 128)
    for layer in LAYERS:
        assert_same(found[layer].numpy(), expected[layer])


def test_outputs_are_those_that_the_measures_take(weights, images, expected):
    extractor = build_extractor("inception", device="cpu", weights=weights)
    assert isinstance(extractor, MultiOutputExtractor)
    found = extractor.activations(images)
    assert {name: x.shape[1] for name, x in found.items()} == dict(output_widths(extractor))
    assert_same(found["features"], expected["2048"])
    assert_same(found["logits"], expected["logits_unbiased"])
    assert_same(found["spatial"], expected["mixed_6"].transpose(0, 2, 3, 1)[..., :7].reshape(3, 17 * 17 * 7))
    np.testing.assert_array_equal(extractor(images), found["features"])
    np.testing.assert_allclose(extractor(images[2:])[0], found["features"][2], atol=1e-4 * found["features"].max())


@pytest.mark.parametrize("side", [31, 128, 299, 512])
def test_resizing_is_that_of_tensorflow_1(side):
    """Pixel i of 299 reads position i · side / 299 of the image, between two pixels in proportion."""
    image = np.random.default_rng(side).uniform(0, 255, (side, side))
    at = np.arange(299) * side / 299
    low, part = np.floor(at).astype(int), at - np.floor(at)
    high = np.minimum(low + 1, side - 1)
    rows = image[low] * (1 - part)[:, None] + image[high] * part[:, None]
    by_hand = rows[:, low] * (1 - part) + rows[:, high] * part
    found = resize(torch.from_numpy(image)[None, None], size=299)[0, 0].numpy()
    np.testing.assert_allclose(found, by_hand, atol=1e-9 * 255)


def test_other_weights_are_refused(tmp_path):
    torch.save({"fc.weight": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(HistosynthError, match=r"SHA-256 .*, not 6726825d0af5.*--weights"):
        Inception("cpu", tmp_path / "w.pth")
    with pytest.raises(HistosynthError, match="cannot be read"):
        Inception("cpu", tmp_path / "absent.pth")


def test_without_internet_the_error_tells_what_to_put_where(monkeypatch):
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


def test_auto_is_inception_where_its_weights_are_and_never_downloads(monkeypatch, tmp_path):
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


def test_weights_that_an_extractor_does_not_take(tmp_path):
    with pytest.raises(HistosynthError, match=r"efficientnet-lite0 accepts no weights file"):
        build_extractor("efficientnet-lite0", device="cpu", weights=tmp_path / "w.pth")
