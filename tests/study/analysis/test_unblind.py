"""When readings are taken out with their truth: not by accident, and never unseen."""

import pytest

from histosynth.errors import HistosynthError
from histosynth.study.analysis.readings import load_readings
from histosynth.study.analysis.unblind import unblind
from histosynth.study.records.links import revoke_link


def looks(study) -> list[str]:
    """What the audit log has of it."""
    return [detail for _, actor, event, detail, _ in study.answers.audit_log() if "taken out" in event]


def test_an_unfinished_study_is_not_read_by_accident(half_answered) -> None:
    found = load_readings(half_answered.path)
    assert found.missing == {"Reader 2": 2}
    with pytest.raises(HistosynthError, match=r"not finished.*Reader 2: 2.*--interim"):
        unblind(half_answered.path, interim=False)
    assert not looks(half_answered)
    assert len(unblind(half_answered.path, interim=True).readings) == 8
    assert looks(half_answered) == ["interim, missing Reader 2: 2"]


def test_a_reader_whose_link_was_revoked_is_not_waited_for(half_answered) -> None:
    revoke_link(half_answered.database, "2")
    found = load_readings(half_answered.path)
    assert (found.missing, found.left) == ({}, {"Reader 2": 2})
    assert len(found.readings) == 8
    assert unblind(half_answered.path, interim=False) == found
    assert looks(half_answered) == ["finished"]


def test_a_study_without_readings_has_nothing_to_tell(tiny_study) -> None:
    with pytest.raises(HistosynthError, match="no readings yet"):
        unblind(tiny_study.path, interim=True)
