"""The rules of reading. Each rule is tested by breaking it."""

import re
import threading
from collections import Counter

import pytest
from pydantic import ValidationError

from histosynth.study.records.answers import Answer, Answers, NotAllowed
from histosynth.study.records.database import open_study
from histosynth.study.records.links import create_organizer_link, extend_link, new_link, revoke_link
from histosynth.study.records.tables import Case, Presentation, Reader, Reading, now
from histosynth.study.records.tokens import hash_token, new_id, new_token

HERE = "127.0.0.1"
REAL = Answer(said="real", confidence=4, seconds=2.5)
OTHER = Answer(said="synthetic", confidence=4, seconds=2.5)


def consenting(study, number=0):
    reader = study.answers.reader_by_token(study.tokens[number], address=HERE)
    study.answers.consent(reader, address=HERE)
    return study.answers.reader_by_token(study.tokens[number], address=HERE)


def rejections(study):
    return [
        (actor, event, detail.partition(":")[0])
        for _, actor, event, detail, _ in study.answers.audit_log()
        if "rejected" in event
    ]


def presentations(study, number):
    with study.database.read_session() as session:
        rows = session.query(Presentation).filter_by(reader_id=number).order_by(Presentation.position)
        return [row.presentation_id for row in rows]


def readings(study):
    with study.database.read_session() as session:
        return session.query(Reading).count()


def assert_rejected(reason, call, *args):
    with pytest.raises(NotAllowed) as error:
        call(*args, address=HERE)
    assert error.value.reason == reason


def test_reading_from_the_first_case_to_the_last(tiny_study):
    reader, seen = consenting(tiny_study), []
    while step := tiny_study.answers.next_step(reader):
        assert tiny_study.answers.picture(reader, step.presentation_id, address=HERE).startswith(b"\x89PNG")
        stored = tiny_study.answers.store(reader, step.presentation_id, REAL, address=HERE)
        assert not stored.duplicate
        assert (stored.feedback is not None) == (step.part == "practice")
        assert stored.finished == (step.following is None)
        seen.append((step.part, step.number, step.total))
    assert seen == [("practice", n, 2) for n in (1, 2)] + [("main", n, 5) for n in (1, 2, 3, 4, 5)]
    assert tiny_study.answers.reader_by_token(tiny_study.tokens[0], address=HERE).finished
    first, second = tiny_study.answers.progress()
    assert (first.practice, first.main, first.finished_at is not None) == (2, 5, True)
    assert (second.practice, second.main, second.finished_at) == (0, 0, None)
    assert rejections(tiny_study) == []


def test_a_duplicate_is_confirmed_and_a_different_answer_rejected(tiny_study):
    reader = consenting(tiny_study)
    shown = tiny_study.answers.next_step(reader).presentation_id
    first = tiny_study.answers.store(reader, shown, REAL, address=HERE)
    again = tiny_study.answers.store(reader, shown, REAL.model_copy(update={"seconds": 9.0}), address=HERE)
    assert (first.duplicate, again.duplicate, first.feedback) == (False, True, again.feedback)
    for other in (OTHER, REAL.model_copy(update={"confidence": 5}), REAL.model_copy(update={"comment": "but"})):
        assert_rejected("final", tiny_study.answers.store, reader, shown, other)
    with tiny_study.database.read_session() as session:
        readings = [(r.said, r.confidence, r.comment, r.seconds) for r in session.query(Reading)]
    assert readings == [("real", 4, "", 2.5)]


def test_the_last_answer_may_be_sent_twice(tiny_study):
    reader = consenting(tiny_study)
    for shown in presentations(tiny_study, 1):
        tiny_study.answers.store(reader, shown, REAL, address=HERE)
    again = tiny_study.answers.store(reader, shown, REAL, address=HERE)
    assert again.duplicate
    assert again.finished
    assert Counter(event for _, _, event, *_ in tiny_study.answers.audit_log())["finished"] == 1


def test_cases_are_answered_in_order(tiny_study):
    reader, own = consenting(tiny_study), presentations(tiny_study, 1)
    for shown in own[1:]:
        assert_rejected("out-of-order", tiny_study.answers.store, reader, shown, REAL)
    assert readings(tiny_study) == 0
    assert rejections(tiny_study) == [("reader 1", "answer rejected", "out-of-order")] * 6


def test_another_reader_s_cases_and_forged_ids_are_rejected_alike(tiny_study):
    reader, others = consenting(tiny_study), presentations(tiny_study, 2)
    for forged in (others[0], new_id(), "", "' OR 1=1 --", "../study.db", "\0", "x" * 10_000):
        assert_rejected("unknown", tiny_study.answers.store, reader, forged, REAL)
        assert_rejected("unknown", tiny_study.answers.picture, reader, forged)
        assert_rejected("unknown", tiny_study.answers.feedback, reader, forged)
    assert readings(tiny_study) == 0
    assert len(rejections(tiny_study)) == 21


def test_consent_comes_first_and_once(tiny_study):
    reader = tiny_study.answers.reader_by_token(tiny_study.tokens[0], address=HERE)
    shown = tiny_study.answers.next_step(reader).presentation_id
    assert_rejected("no-consent", tiny_study.answers.store, reader, shown, REAL)
    consenting(tiny_study)
    consented_at = tiny_study.answers.progress()[0].consented_at
    consenting(tiny_study)
    assert tiny_study.answers.progress()[0].consented_at == consented_at
    assert Counter(event for _, _, event, *_ in tiny_study.answers.audit_log())["consented"] == 1


def test_only_pictures_of_the_current_and_the_next_case_are_given(tiny_study):
    reader, own = consenting(tiny_study), presentations(tiny_study, 1)
    for answered in range(7):
        for position, shown in enumerate(own):
            if position in (answered, answered + 1) or position < min(answered, 2):
                assert tiny_study.answers.picture(reader, shown, address=HERE)
            else:
                assert_rejected("out-of-order", tiny_study.answers.picture, reader, shown)
        tiny_study.answers.store(reader, own[answered], REAL, address=HERE)


def test_truth_is_given_only_for_answered_practice_cases(tiny_study):
    reader, own = consenting(tiny_study), presentations(tiny_study, 1)
    with tiny_study.database.read_session() as session:
        cases = session.query(Presentation.presentation_id, Case.truth).join(Case, Case.case_id == Presentation.case_id)
        truths = dict(cases.all())
    for position, shown in enumerate(own):
        assert_rejected("out-of-order", tiny_study.answers.feedback, reader, shown)
        stored = tiny_study.answers.store(reader, shown, REAL, address=HERE)
        if position < 2:
            assert stored.feedback == tiny_study.answers.feedback(reader, shown, address=HERE) == truths[shown]
        else:
            assert stored.feedback is None
            assert_rejected("unknown", tiny_study.answers.feedback, reader, shown)


def test_replies_about_main_cases_do_not_depend_on_their_truth(tiny_study):
    """Invert every truth: what the rules return stays the same, apart from practice."""

    def replies(answers):
        reader = answers.reader_by_token(tiny_study.tokens[0], address=HERE)
        return repr((answers.next_step(reader), answers.info(), reader, answers.progress()))

    reader = consenting(tiny_study)
    for shown in presentations(tiny_study, 1)[:3]:
        tiny_study.answers.store(reader, shown, REAL, address=HERE)
    before = replies(tiny_study.answers)
    with tiny_study.database.write_session() as session:
        for case in session.query(Case):
            case.truth = "real" if case.truth == "synthetic" else "synthetic"
            case.source, case.patch_id, case.label, case.patient_id = "x", "y", "z", None
    assert replies(tiny_study.answers) == before


def test_unknown_revoked_and_expired_links_are_rejected_alike_but_logged_apart(tiny_study):
    revoke_link(tiny_study.database, "Reader 1")
    with tiny_study.database.write_session() as session:
        session.get_one(Reader, 2).expires_at = now(days=-0.001)
    for token in (new_token(), *tiny_study.tokens, "", "\0", "ü", "\ud800", "x" * 100_000):
        assert tiny_study.answers.reader_by_token(token, address=HERE) is None
    unknown = ("anonymous", "link rejected", "unknown")
    assert rejections(tiny_study)[::-1] == [
        unknown,
        ("reader 1", "link rejected", "revoked"),
        ("reader 2", "link rejected", "expired"),
        *[unknown] * 5,
    ]


def test_links_are_renewed_extended_and_revoked(tiny_study):
    old = tiny_study.tokens[0]
    with tiny_study.database.write_session() as session:
        study = session.connection().exec_driver_sql('UPDATE study SET settings = \'{"base_url": "https://x.org/y/"}\'')
        assert study.rowcount == 1
    link = new_link(tiny_study.database, "1", days=3)
    assert re.fullmatch(r"https://x\.org/y/r/[\w-]{22}", link)
    assert tiny_study.answers.reader_by_token(old, address=HERE) is None
    assert tiny_study.answers.reader_by_token(link.rpartition("/")[2], address=HERE).name == "Reader 1"
    assert now(days=6.99) < extend_link(tiny_study.database, "Reader 1", days=7) < now(days=7.01)
    revoke_link(tiny_study.database, "1")
    assert tiny_study.answers.reader_by_token(link.rpartition("/")[2], address=HERE) is None
    organizer = create_organizer_link(tiny_study.database)
    assert create_organizer_link(tiny_study.database) is None
    assert tiny_study.answers.is_organizer(organizer.rpartition("/")[2], address=HERE)
    assert not tiny_study.answers.is_organizer(link.rpartition("/")[2], address=HERE)
    newer = create_organizer_link(tiny_study.database, replace=True)
    assert not tiny_study.answers.is_organizer(organizer.rpartition("/")[2], address=HERE)
    assert tiny_study.answers.is_organizer(newer.rpartition("/")[2], address=HERE)


def test_no_token_is_the_organizer_s_before_its_link_exists(tiny_study):
    assert not tiny_study.answers.is_organizer("", address=HERE)
    assert not tiny_study.answers.is_organizer("None", address=HERE)


def test_tokens_are_128_random_bits_stored_as_a_hash():
    tokens = {new_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22}", token) for token in tokens)
    assert hash_token("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2


@pytest.mark.parametrize(
    "change",
    [
        {"said": "both"}, {"confidence": 0}, {"confidence": 6}, {"confidence": 2.5}, {"confidence": True},
        {"seconds": -1.0}, {"seconds": float("nan")}, {"seconds": float("inf")}, {"seconds": 1e9},
        {"comment": "x" * 2001}, {"comment": "a\0b"}, {"comment": "\ud800"}, {"changes": -1}, {"truth": "real"},
    ],
)  # fmt: skip
def test_invalid_answers_are_rejected(change):
    with pytest.raises(ValidationError):
        Answer.model_validate({"said": "real", "confidence": 3, "seconds": 1.0} | change)


def test_comments_are_stored_as_written(tiny_study):
    reader, text = consenting(tiny_study), "'; DROP TABLE reading; -- <script>alert(1)</script> ß 漢字 😀\n\ttwo lines"
    shown = tiny_study.answers.next_step(reader).presentation_id
    tiny_study.answers.store(reader, shown, REAL.model_copy(update={"comment": text}), address=HERE)
    with tiny_study.database.read_session() as session:
        assert session.get_one(Reading, shown).comment == text


def test_the_audit_log_has_one_line_per_entry(tiny_study):
    tiny_study.answers.audit("anonymous", "asked", detail="a\nb\x1b[31m\u2028" + "c" * 10_000, address="\r\n")
    _, _, _, detail, address = tiny_study.answers.audit_log()[0]
    assert detail.startswith("a\ufffdb\ufffd[31m\ufffdccc")
    assert len(detail) == 500
    assert address == "\ufffd\ufffd"


def test_twenty_tabs_at_once_store_one_answer(tiny_study):
    """Threads with their own connections answer at once, half of them differently: one of the two answers is stored."""
    reader = consenting(tiny_study)
    shown, outcomes = tiny_study.answers.next_step(reader).presentation_id, []
    start = threading.Barrier(20)

    def press(number):
        answers = Answers(open_study(tiny_study.path, database=tiny_study.url))
        start.wait()
        try:
            outcomes.append(answers.store(reader, shown, REAL if number % 2 else OTHER, address=HERE).duplicate)
        except NotAllowed as error:
            outcomes.append(error.reason)

    threads = [threading.Thread(target=press, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(outcomes) == {False: 1, True: 9, "final": 10}
    assert readings(tiny_study) == 1
