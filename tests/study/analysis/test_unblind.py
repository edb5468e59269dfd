"""Unblinding: never by accident, and always recorded."""

import pytest

from histosynth.errors import HistosynthError
from histosynth.study.analysis.readings import load_readings
from histosynth.study.analysis.unblind import unblind
from histosynth.study.records.links import revoke_link


def unblindings(study) -> list[str]:
    """Return the details of the audit log's entries on unblinding."""
    return [detail for _, actor, event, detail, _ in study.answers.audit_log() if event == "unblinded"]


def test_an_unfinished_study_is_not_unblinded_by_accident(half_answered) -> None:
    readings = load_readings(half_answered.path)
    assert readings.missing == {"Reader 2": 2}
    with pytest.raises(HistosynthError, match=r"not finished.*Reader 2: 2.*--interim"):
        unblind(half_answered.path, interim=False)
    assert not unblindings(half_answered)
    assert len(unblind(half_answered.path, interim=True).readings) == 8
    assert unblindings(half_answered) == ["interim, missing Reader 2: 2"]


def test_a_study_can_finish_without_a_reader_whose_link_is_revoked(half_answered) -> None:
    revoke_link(half_answered.database, "2")
    readings = load_readings(half_answered.path)
    assert (readings.missing, readings.withdrawn) == ({}, {"Reader 2": 2})
    assert len(readings.readings) == 8
    assert unblind(half_answered.path, interim=False) == readings
    assert unblindings(half_answered) == ["finished"]


def test_a_study_without_readings_cannot_be_unblinded(tiny_study) -> None:
    with pytest.raises(HistosynthError, match="no readings yet"):
        unblind(tiny_study.path, interim=True)
