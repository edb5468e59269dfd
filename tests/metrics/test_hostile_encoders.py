"""Damaged files of an encoder: 500 weights of each format, and 500 of `config.json` in a copy from the hub."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from histosynth.metrics.extractors import build_extractor, encoders
from limits import attempt, bounded
from mutations import JsonMutations, Mutations


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_damaged_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, suffix: str) -> None:
    """A network of two layers takes the place of timm's, whose construction takes a tenth of a second."""

    def create_model(*_: object, **__: object) -> torch.nn.Module:
        network = torch.nn.Sequential(torch.nn.AvgPool2d(8), torch.nn.Flatten(), torch.nn.Linear(3, 2))
        network.pretrained_cfg = {"classifier": "head"}
        return network

    config = {"input_size": (3, 8, 8), "interpolation": "bicubic", "mean": (0.5,) * 3, "std": (0.5,) * 3}
    data = SimpleNamespace(resolve_model_data_config=lambda _: config)
    monkeypatch.setattr(encoders, "_package", lambda _: SimpleNamespace(create_model=create_model, data=data))
    path, refused = tmp_path / f"w.{suffix}", 0
    (save_file if suffix == "safetensors" else torch.save)(create_model().state_dict(), path)
    for copy in Mutations(path.read_bytes(), count=500):
        path.write_bytes(copy)
        refused += attempt(lambda: build_extractor("timm:small", device="cpu", weights=path)) is not None
    assert 50 < refused < 500


HOSTILE = [
    None, [], {}, "x", -1, 0, 1e308, [3, 0, 0], [3, 10**5, 10**5], [1, 8, 8], ["x"] * 3, [float("nan")] * 3,
    [[0.5] * 3] * 3, "y" * 10**6,
]  # fmt: skip


@pytest.mark.slow
def test_hostile_configurations(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.set_num_threads(1)  # a tiny network
    network, refused = timm.create_model("test_vit", pretrained=False, num_classes=10), 0
    timm.models.save_for_hf(network, tmp_path, model_args={}, safe_serialization="both")

    def build() -> None:
        build_extractor("hf-hub:someone/test", device="cpu", weights=tmp_path)

    build()  # unchanged, it is read
    config: dict[str, Any] = json.loads((tmp_path / "config.json").read_text())
    for key in ("architecture", "pretrained_cfg", "input_size", "mean", "std", "interpolation"):
        for number, value in enumerate(HOSTILE):
            inside = config["pretrained_cfg"] | {key: value} if key in config["pretrained_cfg"] else None
            changed = config | ({key: value} if inside is None else {"pretrained_cfg": inside})
            (tmp_path / "config.json").write_text(json.dumps(changed))
            with bounded(f"{key}, value {number}"):
                refused += attempt(build) is not None
    for text in (b"", b"\xff\xfe", b"[" * 100_000, b"[]", b"\r"):
        (tmp_path / "config.json").write_bytes(text)
        assert attempt(build)
    for copy in JsonMutations(json.dumps(config).encode(), count=411):
        (tmp_path / "config.json").write_bytes(copy)
        refused += attempt(build) is not None
    assert 250 < refused < 500
