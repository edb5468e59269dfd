"""Error messages: one line, whatever they quote, with suggestions."""

import pickle

import pytest

from histosynth.errors import HistosynthError, did_you_mean


def test_the_message_is_one_line_also_after_pickling() -> None:
    error = HistosynthError("part-a.parquet cannot be read (thrift:\n  no type\n); delete it")
    assert str(pickle.loads(pickle.dumps(error))) == "part-a.parquet cannot be read (thrift: no type ); delete it"


@pytest.mark.parametrize(("name", "tail"), [("trian", " (did you mean 'train'?)"), ("zzz", "")])
def test_did_you_mean(name: str, tail: str) -> None:
    assert did_you_mean(name, ["train", "sample"]) == tail
