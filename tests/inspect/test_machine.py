"""The machine is described as it is: versions, devices, components, and what is missing."""

from typing import Any

import openslide
import pytest
import torch

from histosynth.inspect.machine import describe_machine
from histosynth.metrics.extractors.efficientnet_lite0 import WEIGHTS_SHA256


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    return describe_machine()


def test_versions_agree_with_the_libraries(facts: dict[str, Any]) -> None:
    assert facts["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert facts["versions"]["openslide library"] == openslide.__library_version__


def test_components_of_the_package_are_listed(facts: dict[str, Any]) -> None:
    assert {"image", "openslide"} <= set(facts["readers"])
    assert {"macenko", "none"} <= set(facts["normalizers"])
    assert {"ddim", "ddpm"} <= set(facts["samplers"])
    assert facts["extractors"]["efficientnet-lite0"] == f"works: 1280 features, weights {WEIGHTS_SHA256[:12]}"


def test_devices(facts: dict[str, Any]) -> None:
    assert ("cuda:0" in facts["devices"]) == torch.cuda.is_available()
    assert f"{torch.get_num_threads()} threads" in facts["devices"]["cpu"]


def test_weights_are_never_downloaded(facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each extractor is reported as present, or with how to get it."""
    status = facts["extractors"]
    assert status["inception"].startswith("missing: no weights; download https://")
    for name in ("clip", "dinov2", "hf-hub:", "timm:"):
        assert "histosynth[encoders]" in status[name] or status[name].endswith("fetches its weights at first use")
    monkeypatch.setattr("histosynth.metrics.extractors.find_spec", lambda package: None)
    assert describe_machine()["extractors"]["clip"] == (
        "missing: torch_fidelity is not installed; pip install 'histosynth[encoders]'"
    )
