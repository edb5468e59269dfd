"""The reader's pages and the organizer's page, over HTTP."""

import re

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from histosynth.study.records.tables import Presentation, Reader, Study, now
from histosynth.study.records.tokens import hash_token, new_token

JSON = {"Accept": "application/json"}


def test_a_link_is_exchanged_for_a_cookie(browse, tiny_study) -> None:
    http, token = browse().http, tiny_study.tokens[0]
    opened = http.get(f"/r/{token}")
    assert (opened.status_code, opened.headers["Location"]) == (303, "/")
    assert "set-cookie" in opened.headers
    cookie = opened.headers["Set-Cookie"]
    assert cookie.startswith("reader=")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie  # the browser would not return it over http
    assert token not in opened.text + cookie
    raw = tiny_study.path.joinpath("study.db").read_bytes() + tiny_study.path.joinpath("study.db-wal").read_bytes()
    for secret in (token, http.cookies["reader"]):
        assert secret.encode() not in raw
        assert hash_token(secret).encode() in raw


def test_opening_the_same_link_twice_continues_the_visit(browse, tiny_study) -> None:
    """A page that is open in another tab can still send its form."""
    browser = browse(0)
    before = browser.form("/case") | {"said": "real", "confidence": "3"}
    assert "Set-Cookie" not in browser.http.get(f"/r/{tiny_study.tokens[0]}").headers
    assert browser.http.post("/answer", data=before, headers=JSON).status_code == 200
    assert "Set-Cookie" in browser.http.get(f"/r/{tiny_study.tokens[1]}").headers  # another visit


def test_over_https_only_this_host_can_set_the_cookie(browse, tiny_study) -> None:
    http = browse(base_url="https://study.example").http
    cookie = http.get(f"/r/{tiny_study.tokens[0]}").headers["Set-Cookie"]
    assert cookie.startswith("__Host-reader=")
    for part in ("Secure", "HttpOnly", "Path=/", "SameSite=lax"):
        assert part in cookie
    assert http.get("/welcome").status_code == 200


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


def test_pause_and_sign_out(browse) -> None:
    browser = browse(0)
    browser.answer()
    pause = browser.http.get("/pause").text
    assert "You have answered 1 of 7 cases" in pause
    cookie = browser.http.cookies["reader"]
    left = browser.http.post("/leave", data=browser.form("/pause"))
    assert left.headers["Clear-Site-Data"] == '"storage"'
    assert "reader" not in browser.http.cookies
    stolen = browse()
    stolen.http.cookies["reader"] = cookie
    assert stolen.http.get("/case").status_code == 401


def test_a_visit_ends_with_its_link(browse, tiny_study) -> None:
    revoked, renewed, expired = (
        {"revoked_at": now()},
        {"token_hash": hash_token("another")},
        {"expires_at": now(days=-1)},
    )
    for change in (revoked, renewed, expired):
        browser = browse(0, consent=False)
        with tiny_study.database.write_session() as session:
            before = session.get_one(Reader, 1)
            original = {name: getattr(before, name) for name in change}
            session.execute(update(Reader).where(Reader.reader_id == 1).values(**change))
        rejected = browser.http.get("/welcome")
        assert rejected.status_code == 401
        assert "open your link" in rejected.text
        with tiny_study.database.write_session() as session:
            session.execute(update(Reader).where(Reader.reader_id == 1).values(**original))


def test_cases_differ_only_in_their_pixels(browse, tiny_study) -> None:
    """Pages, headers and addresses of real and synthetic cases are equal except for opaque ids and the case number."""
    browser = browse(0)
    seen, headers = set(), set()
    for _ in range(7):
        reply = browser.http.get("/case")
        presentation = browser.form("/case")["presentation"]
        assert re.fullmatch(r"[0-9a-f]{32}", presentation)
        page = reply.text.replace(presentation, "ID")
        page = re.sub(
            r"(Practice c|C)ase \d of \d|(practice )?case \d of \d|\d of \d answered|(max|value)=\"\d\"", "", page
        )
        picture = browser.http.get(f"/picture/{presentation}")
        assert picture.content.startswith(b"\x89PNG")
        seen.add((re.sub(r'name="csrf" value="\w+"', "", page), tuple(reply.headers.keys())))
        headers.add(tuple((k, v) for k, v in picture.headers.items() if k != "content-length"))
        browser.answer()
    assert len(seen) == len(headers) == 1
    named = dict(headers.pop())
    assert named["cache-control"] == "no-store"
    assert not {"etag", "last-modified", "content-disposition", "set-cookie"} & set(named)


def test_truth_is_shown_only_for_answered_practice_cases(browse) -> None:
    browser = browse(0)
    practice = browser.form("/case")["presentation"]
    assert browser.http.get(f"/practice/{practice}").status_code == 409
    browser.answer()
    assert browser.http.get(f"/practice/{practice}").status_code == 200
    browser.answer()
    main = browser.form("/case")["presentation"]
    done = browser.answer()
    assert done.json() == {"saved": main, "next": "/case"}
    assert browser.http.get(f"/practice/{main}").status_code == 404
    assert browser.http.get(f"/picture/{main}").status_code == 409  # an answered case cannot be viewed again


def test_headers_on_every_reply(browse) -> None:
    browser = browse(0)
    static = re.search(r'href="(/static/\w+/)study\.css"', browser.http.get("/case").text)[1]
    for path in ("/case", "/", "/nowhere", f"{static}study.css", f"{static}none.css", "/organizer", "/r/wrong"):
        reply = browser.http.get(path)
        policy = reply.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Referrer-Policy"] == "no-referrer"
        assert "camera=()" in reply.headers["Permissions-Policy"]
        assert ("immutable" if path.endswith("study.css") else "no-store") in reply.headers["Cache-Control"]


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


def organizer_token(study) -> str:
    token = new_token()
    with study.database.write_session() as session:
        session.get_one(Study, 1).organizer_hash = hash_token(token)
    return token


def test_the_organizer_sees_only_progress(browse, tiny_study) -> None:
    token = organizer_token(tiny_study)
    reader = browse(0)
    reader.answer(said="synthetic")
    assert reader.http.get("/organizer").status_code == 401
    with tiny_study.database.write_session() as session:
        session.get_one(Reader, 2).revoked_at = now()
    http = browse().http
    opened = http.get(f"/organizer/{token}")
    assert (opened.status_code, opened.headers["Location"]) == (303, "/organizer")
    page = http.get("/organizer").text
    assert "0 of 2 readers have finished. 1 of 14 cases" in page
    assert re.search(r"Reader 1</th>.*?1 of 7.*?\d\d:\d\d UTC.*?valid until", page, re.DOTALL)
    assert re.search(r"Reader 2</th>.*?0 of 7.*?not yet.*?revoked", page, re.DOTALL)
    assert not re.search(r"synthetic|accura|correct|%", page)
    assert http.get("/case").status_code == 401  # the organizer is not a reader
    organizer_token(tiny_study)  # a new link ends visits by the old one
    assert http.get("/organizer").status_code == 401
