"""Encoders of timm and torch-fidelity compared with these packages, with random weights."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

from histosynth.errors import HistosynthError
from histosynth.metrics.extractors import build_extractor, encoders, missing_requirement
from histosynth.metrics.extractors.encoders import HUB_ARGUMENTS, _value

MODEL = "test_vit"  # a model of timm with 0.4 million weights


@pytest.fixture(scope="module")
def timm() -> Any:
    return pytest.importorskip("timm")


@pytest.fixture
def network(timm: Any) -> Any:
    torch.manual_seed(0)
    return timm.create_model(MODEL, pretrained=False, num_classes=10).eval()


@pytest.fixture
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_features_agree_with_timm(timm, network, images, tmp_path, suffix):
    """Compared with its pre-logits, after its own transform of an image that needs no resizing."""
    path = tmp_path / f"w.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(network.state_dict(), path)
    extractor = build_extractor(f"timm:{MODEL}", device="cpu", weights=path)
    config = timm.data.resolve_model_data_config(network)
    side = config["input_size"][-1]
    large = np.repeat(np.repeat(images, side // 40, 1), side // 40, 2)
    assert large.shape[1:3] == (side, side)
    transform = timm.data.create_transform(**{**config, "crop_pct": 1.0})
    with torch.inference_mode():
        x = torch.stack([transform(Image.fromarray(image)) for image in large])
        expected = network.forward_head(network.forward_features(x), pre_logits=True).numpy()
    assert extractor.dimension == expected.shape[1]
    assert expected.std() > 1e-2
    np.testing.assert_allclose(extractor(large), expected, rtol=0, atol=1e-4)
    assert extractor.name == "timm:test_vit"
    assert str(side) in extractor.preprocessing


def test_weights_are_identified_by_their_values(network, tmp_path):
    first, again, other = (tmp_path / f"{name}.pth" for name in "abc")
    torch.save(network.state_dict(), first)
    torch.save({"state_dict": network.state_dict()}, again)
    network.norm.bias.data[0] += 1
    torch.save(network.state_dict(), other)
    hashes = [build_extractor(f"timm:{MODEL}", device="cpu", weights=p).weights_sha256 for p in (first, again, other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_weights_of_another_network_are_rejected(network, tmp_path):
    state = network.state_dict()
    for name, change, message in (
        ("less", {k: v for k, v in state.items() if k != "norm.bias"}, r"the file lacks norm\.bias"),
        ("more", {**state, "extra": torch.zeros(1)}, "the network does not have extra"),
    ):
        torch.save(change, tmp_path / f"{name}.pth")
        with pytest.raises(HistosynthError, match=message):
            build_extractor(f"timm:{MODEL}", device="cpu", weights=tmp_path / f"{name}.pth")


def test_a_local_copy_of_a_hub_repository(timm, network, images, tmp_path):
    """`hf-hub:` with a local copy of a repository: config.json and weights."""
    timm.models.save_for_hf(network, tmp_path, model_args={}, safe_serialization="both")
    extractor = build_extractor("hf-hub:someone/test", device="cpu", weights=tmp_path)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    same = build_extractor(f"timm:{MODEL}", device="cpu", weights=tmp_path / "w.pth")
    assert extractor.weights_sha256 == same.weights_sha256
    np.testing.assert_allclose(extractor(images), same(images), atol=1e-5)


def test_tokens_are_pooled_as_for_virchow2(timm, images, tmp_path):
    network = timm.create_model(MODEL, pretrained=False, num_classes=0, global_pool="")
    network.pretrained_cfg["num_classes"] = 0
    timm.models.save_for_hf(network, tmp_path, model_args={"global_pool": ""}, safe_serialization="both")
    extractor = build_extractor("hf-hub:someone/tokens", device="cpu", weights=tmp_path)
    assert extractor.dimension == 2 * network.num_features
    assert extractor(images).shape == (3, extractor.dimension)


@pytest.mark.parametrize(("name", "millions"), [("MahmoodLab/UNI2-h", 681), ("bioptimus/H-optimus-0", 1134)])
def test_pathology_encoders_are_built_as_published(timm, name, millions):
    """Compared with their published numbers of weights; nothing is allocated on the device `meta`."""
    base = {"MahmoodLab/UNI2-h": "vit_giant_patch14_224", "bioptimus/H-optimus-0": "vit_giant_patch14_reg4_dinov2"}
    arguments = {key: _value(value) for key, value in HUB_ARGUMENTS[name].items()}
    with torch.device("meta"):
        network = timm.create_model(base[name], pretrained=False, num_classes=0, **arguments)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(millions * 1e6, rel=0.01)
    assert network.num_features == 1536


def test_unknown_models_and_missing_files_are_errors(timm, tmp_path, monkeypatch):
    for name, message in (
        ("timm:no_such_model", r"--extractor timm:no_such_model cannot be loaded"),
        ("timm:", "add the name of a model, such as timm:resnet50"),
        ("tim:resnet18", "did you mean 'timm:'"),
    ):
        with pytest.raises(HistosynthError, match=message):
            build_extractor(name, device="cpu")
    with pytest.raises(HistosynthError, match=r"cannot be loaded .*absent\.pth"):
        build_extractor(f"timm:{MODEL}", device="cpu", weights=tmp_path / "absent.pth")


def test_the_error_names_the_extra_of_a_missing_package(monkeypatch):
    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(encoders, "import_module", absent)
    monkeypatch.setattr("histosynth.metrics.extractors.find_spec", lambda name: None)
    for name in ("dinov2", "clip", "timm:", "hf-hub:"):
        assert "histosynth[encoders]" in str(missing_requirement(name))
        with pytest.raises(HistosynthError, match=r"pip install 'histosynth\[encoders\]'"):
            build_extractor(f"{name}x" if name.endswith(":") else name, device="cpu")


def test_dinov2_agrees_with_torch_fidelity(monkeypatch, images, tmp_path):
    """With a small network instead of the one that PyTorch's hub would download."""
    peer = pytest.importorskip("torch_fidelity.feature_extractor_dinov2")
    torch.manual_seed(0)
    small = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 14, stride=14), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    monkeypatch.setattr(torch.hub, "load", lambda *_, **__: small)
    extractor = build_extractor("dinov2", device="cpu")
    model = peer.FeatureExtractorDinoV2("dinov2-vit-l-14", ["dinov2"])
    with torch.inference_mode():
        expected = model(torch.from_numpy(images).permute(0, 3, 1, 2))[0].numpy()
    assert extractor.dimension == 5
    np.testing.assert_allclose(extractor(images), expected, atol=1e-5)
    with pytest.raises(HistosynthError, match="accepts no weights file for dinov2"):
        build_extractor("dinov2", device="cpu", weights=tmp_path / "w.pth")


def test_clip_agrees_with_torch_fidelity(monkeypatch, images, tmp_path):
    """The vision half of a small CLIP, in the layout that OpenAI published."""
    peer = pytest.importorskip("torch_fidelity.feature_extractor_clip")
    torch.manual_seed(0)
    vision = peer.CLIPVisual(8, 224, 1, 64, 32)
    state = {**vision.state_dict(), "text_projection": torch.zeros(4, 8)}
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: SimpleNamespace(state_dict=lambda: dict(state)))
    extractor = build_extractor("clip", device="cpu", weights=tmp_path / "clip.pt")
    model = peer.FeatureExtractorCLIP("clip-vit-b-32", ["clip"], feature_extractor_weights_path="any")
    with torch.inference_mode():
        expected = model(torch.from_numpy(images).permute(0, 3, 1, 2))[0].numpy()
    assert extractor.dimension == 8
    assert expected.std() > 1e-3
    np.testing.assert_allclose(extractor(images), expected, atol=1e-5)
