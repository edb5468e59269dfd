"""Error messages: one line, whatever they quote, with suggestions."""

import pickle

import pytest

from histosynth.errors import HistosynthError, did_you_mean


def test_the_message_is_one_line_also_after_pickling() -> None:
    error = HistosynthError("part-a.parquet cannot be read (thrift:\n  no type\n); delete it")
    assert str(pickle.loads(pickle.dumps(error))) == "part-a.parquet cannot be read (thrift: no type ); delete it"


def test_a_message_that_quotes_a_long_text_keeps_its_place_and_its_fix() -> None:
    message = str(HistosynthError(f"settings.toml: unknown setting '{'x' * 10**6}'; delete it"))
    assert len(message) == 2000
    assert message.startswith("settings.toml: unknown setting 'xxx")
    assert message.endswith("xxx'; delete it")
    assert "x … x" in message


@pytest.mark.parametrize(("name", "tail"), [("trian", " (did you mean 'train'?)"), ("zzz", "")])
def test_did_you_mean(name: str, tail: str) -> None:
    assert did_you_mean(name, ["train", "sample"]) == tail
