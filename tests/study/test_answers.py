import sqlite3

import pytest

from histosynth.study.answers import Answer, Refused

HERE = "127.0.0.1"
REAL = Answer(said="real", confidence=4, seconds=2.5)
OTHER = Answer(said="synthetic", confidence=4, seconds=2.5)


def consenting(study, number=0):
    reader = study.answers.reader_of(study.tokens[number], address=HERE)
    study.answers.consent(reader, address=HERE)
    return study.answers.reader_of(study.tokens[number], address=HERE)


def test_reads_from_the_first_case_to_the_last(tiny_study):
    reader, seen = consenting(tiny_study), []
    while step := tiny_study.answers.next_step(reader):
        assert tiny_study.answers.picture(reader, step.presentation_id, address=HERE).startswith(b"\x89PNG")
        stored = tiny_study.answers.store(reader, step.presentation_id, REAL, address=HERE)
        assert not stored.again
        assert (stored.feedback is not None) == (step.part == "practice")
        assert stored.finished == (step.following is None)
        seen.append((step.part, step.number, step.total))
    assert seen == [("practice", n, 2) for n in (1, 2)] + [("main", n, 5) for n in (1, 2, 3, 4, 5)]
    assert tiny_study.answers.reader_of(tiny_study.tokens[0], address=HERE).finished
    first, second = tiny_study.answers.progress()
    assert (first.practice, first.main, first.finished_at is not None) == (2, 5, True)
    assert (second.practice, second.main, second.finished_at) == (0, 0, None)


def test_the_same_answer_again_is_taken_once_and_another_is_refused(tiny_study):
    reader = consenting(tiny_study)
    shown = tiny_study.answers.next_step(reader).presentation_id
    first = tiny_study.answers.store(reader, shown, REAL, address=HERE)
    again = tiny_study.answers.store(reader, shown, REAL.model_copy(update={"seconds": 9.0}), address=HERE)
    assert (first.again, again.again, first.feedback) == (False, True, again.feedback)
    with pytest.raises(Refused) as refused:
        tiny_study.answers.store(reader, shown, OTHER, address=HERE)
    assert refused.value.reason == "final"
    with sqlite3.connect(tiny_study.path / "study.db") as file:
        assert file.execute("SELECT said, seconds FROM reading").fetchall() == [("real", 2.5)]
    file.close()
