"""A reader's answers over HTTP: one per case, valid, with its time, from the first case to the last."""

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from histosynth.study.records.tables import Presentation, now

JSON = {"Accept": "application/json"}


def test_reading_from_the_link_to_the_end(browse, tiny_study) -> None:
    browser = browse(0, consent=False)
    assert browser.http.get("/").headers["Location"] == "/welcome"
    assert browser.http.get("/case").headers["Location"] == "/welcome"
    welcome = browser.http.get("/welcome").text
    assert "Reader 1" in welcome
    assert "2 practice cases come first" in welcome
    browser.consent()
    assert "Begin the practice" in browser.http.get("/instructions").text
    given = [("real", 5), ("real", 1), ("synthetic", 2), ("real", 3), ("synthetic", 4), ("real", 5), ("synthetic", 1)]
    truths = ["real", "synthetic"]  # of the two practice cases
    for number, (said, confidence) in enumerate(given):
        page = browser.http.get("/case").text
        practice = number < 2
        expected = f"Practice case {number + 1} of 2" if practice else f"Case {number - 1} of 5"
        assert f'<h1 id="heading">{expected}</h1>' in page
        presentation = browser.form("/case")["presentation"]
        done = browser.answer(said=said, confidence=confidence, comment=f"case {number}\r\n", changes=number)
        next_page = f"/practice/{presentation}" if practice else "/thanks" if number == 6 else "/case"
        assert (done.status_code, done.json()) == (200, {"saved": presentation, "next": next_page})
        if practice:
            feedback = browser.http.get(next_page).text
            assert f"This patch is <b>{truths[number]}</b>" in feedback
            assert f"You answered <b>{said}</b>, with confidence {confidence}" in feedback
            assert ("Begin the study" in feedback) == (number == 1)
            assert browser.http.get(f"/picture/{presentation}").status_code == 200
    assert "all 5 cases" in browser.http.get("/thanks").text
    for path in ("/case", "/"):
        assert browser.http.get(path).headers["Location"] in ("/thanks", "/case")
    readings = tiny_study.readings()
    assert [(r.said, r.confidence, r.comment, r.changes) for r in readings] == [
        (said, confidence, f"case {number}", number) for number, (said, confidence) in enumerate(given)
    ]


def test_one_answer_per_case(browse, tiny_study) -> None:
    """Two tabs, double clicks, the back button: the first answer stands, a duplicate is confirmed."""
    first = browse(0)
    second = browse(0, consent=False)  # another computer, the same link
    form = second.form("/case") | {"said": "real", "confidence": "2"}
    assert second.http.post("/answer", data=form, headers=JSON).status_code == 200
    again = second.http.post("/answer", data=form, headers=JSON)
    assert (again.status_code, again.json()["saved"]) == (200, form["presentation"])
    different = form | first.form("/case") | {"presentation": form["presentation"], "said": "synthetic"}
    rejected = first.http.post("/answer", data=different, headers=JSON)
    assert rejected.status_code == 409
    assert "final" in rejected.json()["text"]
    assert first.http.get("/now").json()["presentation"] == first.form("/case")["presentation"] != form["presentation"]
    assert [(r.said, r.confidence) for r in tiny_study.readings()] == [("real", 2)]


def test_without_scripts_the_form_leads_to_the_next_page(browse, tiny_study) -> None:
    browser = browse(0)
    form = browser.form("/case") | {"said": "real", "confidence": "2"}
    done = browser.http.post("/answer", data=form)
    assert (done.status_code, done.headers["Location"]) == (303, f"/practice/{form['presentation']}")
    rejected = browser.http.post("/answer", data=form | {"confidence": "3"})
    assert rejected.status_code == 409
    assert '<a class="primary" href="/">Continue</a>' in rejected.text


@pytest.mark.parametrize(
    "fields",
    [{"said": "fake"}, {"said": ""}, {"confidence": 0}, {"confidence": 6}, {"confidence": "2.5"}, {"changes": -1},
     {"visible_ms": "nan"}, {"visible_ms": -5}, {"comment": "x" * 2001}, {"comment": "a\0b"}],
    ids=str,
)  # fmt: skip
def test_invalid_answers_are_rejected(browse, tiny_study, fields) -> None:
    browser = browse(0)
    assert browser.answer(**fields).status_code == 422
    assert tiny_study.readings() == []
    assert browser.answer().status_code == 200


def test_time_is_the_shorter_of_visible_and_elapsed(browse, tiny_study) -> None:
    """The page's visible time counts, but never more than the time since the server first showed the case."""
    browser = browse(0)
    for visible_ms in (1, 3_600_000, 0):
        presentation = browser.form("/case")["presentation"]
        with tiny_study.database.write_session() as session:
            ago = now(days=-10 / 86_400)
            session.execute(
                update(Presentation).where(Presentation.presentation_id == presentation).values(shown_at=ago)
            )
        assert browser.answer(visible_ms=visible_ms).status_code == 200
    seconds = [r.seconds for r in tiny_study.readings()]
    assert seconds[0] == 0.001
    assert seconds[1:] == pytest.approx([10, 10], abs=5)


@pytest.mark.parametrize("visible_ms", [0, 2000])
@pytest.mark.parametrize("reopened", [False, True])
def test_a_case_that_was_opened_long_ago_can_be_answered(browse, tiny_study, visible_ms, reopened) -> None:
    browser = browse(0)
    data = {**browser.form("/case"), "said": "real", "confidence": 3, "visible_ms": visible_ms}
    with tiny_study.database.write_session() as session:
        session.execute(update(Presentation).values(shown_at=now(days=-8)))
    if reopened:
        browser.http.get("/case")
    assert browser.http.post("/answer", data=data).status_code == 303
    [reading] = tiny_study.readings()
    seconds = 0 if reopened else visible_ms / 1000 or 7 * 86_400
    assert reading.seconds == pytest.approx(seconds, abs=0 if seconds else 5)


@pytest.mark.parametrize("visible_ms", [10**13, 10**400, "1e400", -1])
def test_an_impossible_time_is_rejected(browse, visible_ms) -> None:
    assert browse(0).answer(visible_ms=visible_ms).status_code == 422


def test_only_the_first_time_shown_counts(browse, tiny_study) -> None:
    browser = browse(0)

    def shown_at() -> list[str]:
        with tiny_study.database.read_session() as session:
            return [p for p in session.scalars(select(Presentation.shown_at)) if p]

    browser.http.get("/case")
    before = shown_at()
    browser.http.get("/case")
    assert len(before) == 1
    assert shown_at() == before


def test_a_server_fault_is_explained_without_details(browse, tiny_study, monkeypatch) -> None:
    browser = browse(0)
    fields = browser.form("/case") | {"said": "real", "confidence": "3"}
    answers = type(browser.http.app.state.study.answers)

    def fails(error: Exception):
        def store(*_: object, **__: object) -> None:
            raise error

        return store

    with monkeypatch.context() as patched:
        patched.setattr(answers, "store", fails(OperationalError("INSERT", {}, Exception("database is locked"))))
        busy = browser.http.post("/answer", data=fields, headers=JSON)
        assert (busy.status_code, busy.headers["Retry-After"]) == (503, "2")
        patched.setattr(answers, "store", fails(RuntimeError("a secret detail")))
        broken = browser.http.post("/answer", data=fields)
        assert broken.status_code == 500
        assert "secret" not in broken.text
        assert "a fault of the server" in broken.text
        assert "X-Frame-Options" in broken.headers
    assert browser.http.post("/answer", data=fields, headers=JSON).status_code == 200
