"""Attacks on the page, each replayed: it is rejected, changes nothing, and is recorded in the audit log.

| attack | defense |
|---|---|
| guessing tokens | 128 random bits; ten invalid links per network, then one per minute |
| another reader's cases, forged ids | presentation ids are random and bound to a reader |
| looking ahead, or back, or at the truth of practice | only the current case, the next picture, answered practice |
| CSRF | SameSite, the origin that the browser names for a POST, a token in every form |
| a stolen, guessed or foreign cookie | random, stored as its hash, ends with the link |
| SQL and HTML in comments and addresses | bound parameters; comments never reach a page of the study |
| oversized bodies, headers, comments | limits before anything is parsed |
| slow clients | timeouts for headers and for bodies |
| path traversal | static files are looked up only in their folder |
| floods of forms | ten per second per visit |
| filling the audit log | one rejection per second per network |

Slow clients, path traversal and oversized headers need a real server: `test_attacks_on_the_server.py`.
"""

import pytest
from sqlalchemy import func, select

from histosynth.study.records.tables import Picture, Presentation, Reading
from histosynth.web_server.limits import RateLimiter

JSON = {"Accept": "application/json"}


def stored(study) -> int:
    with study.database.read_session() as session:
        return session.scalar(select(func.count()).select_from(Reading))


def logged(study) -> list[str]:
    """Return actor, event and detail of each entry, newest first."""
    return [f"{actor}: {event}: {detail}" for _, actor, event, detail, _ in study.answers.audit_log()]


def test_guessing_tokens(browse, tiny_study) -> None:
    http = browse().http
    replies = [http.get(f"/r/{n:022d}") for n in range(12)]
    assert [r.status_code for r in replies] == [404] * 10 + [429] * 2
    assert int(replies[-1].headers["Retry-After"]) > 30
    assert http.get(f"/r/{tiny_study.tokens[0]}").status_code == 429  # even a valid one: guessing must not continue
    assert http.get("/organizer/guess").status_code == 429
    log = logged(tiny_study)
    assert sum("link rejected" in line for line in log) == 10
    assert sum("429 GET /r/…" in line for line in log) == 3
    assert "/r/0000" not in "".join(log)  # it may be somebody's mistyped link
    assert tiny_study.tokens[0] not in "".join(log)


def test_valid_links_are_not_counted(browse, tiny_study) -> None:
    """All readers of a hospital behind one address can open their links."""
    http = browse().http
    assert {http.get(f"/r/{tiny_study.tokens[n % 2]}").status_code for n in range(40)} == {303}


@pytest.mark.parametrize("token", ["", "x", "%2e%2e%2fetc", "' OR 1=1 --", "\u2603" * 30, "a" * 4000])
def test_malformed_tokens(browse, token) -> None:
    http = browse().http
    assert http.get(f"/r/{token}").status_code == 404
    assert http.get(f"/organizer/{token}").status_code == 404
    assert not http.cookies


def test_another_readers_case(browse, tiny_study) -> None:
    mine, other = browse(0), browse(1)
    theirs = other.form("/case")["presentation"]
    assert mine.answer(presentation=theirs).status_code == 404
    for path in (f"/picture/{theirs}", f"/practice/{theirs}"):
        assert mine.http.get(path).status_code == 404
    other.answer()
    assert mine.http.get(f"/practice/{theirs}").status_code == 404
    assert stored(tiny_study) == 1
    log = "\n".join(logged(tiny_study))
    for event in ("answer", "picture", "feedback"):
        assert f"reader 1: {event} rejected: unknown: {theirs}" in log


@pytest.mark.parametrize("forged", ["0" * 32, "1", "..%2fcase", "' OR '1'='1", "x" * 90])
def test_forged_ids(browse, tiny_study, forged) -> None:
    browser = browse(0)
    assert browser.answer(presentation=forged).status_code == 404
    assert browser.http.get(f"/picture/{forged}").status_code == 404
    assert stored(tiny_study) == 0
    assert any("rejected" in line for line in logged(tiny_study))


def test_case_ids_give_no_access(browse, tiny_study) -> None:
    with tiny_study.database.read_session() as session:
        cases = list(session.scalars(select(Picture.case_id)))
    browser = browse(0)
    assert {browser.http.get(f"/picture/{case}").status_code for case in cases} == {404}


def test_looking_ahead(browse, tiny_study) -> None:
    """The next picture may be fetched, but none after it, and only the current case may be answered."""
    browser = browse(0)
    with tiny_study.database.read_session() as session:
        query = select(Presentation.presentation_id).where(Presentation.reader_id == 1)
        order = list(session.scalars(query.order_by(Presentation.position)))
    assert [browser.http.get(f"/picture/{p}").status_code for p in order] == [200, 200, *[409] * 5]
    assert [browser.answer(presentation=p).status_code for p in order[1:]] == [409] * 6
    assert stored(tiny_study) == 0
    assert sum("out-of-order" in line for line in logged(tiny_study)) == 11


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"},
     {"Sec-Fetch-Site": "cross-site", "Origin": "null"}, {"Origin": "https://evil.example"},
     {"Origin": "http://testserver.evil.example"}, {"Origin": "https://testserver"}],
    ids=str,
)  # fmt: skip
def test_forms_of_other_sites(browse, tiny_study, headers) -> None:
    browser = browse(0)
    if "Sec-Fetch-Site" not in headers:
        del browser.http.headers["Sec-Fetch-Site"]
    valid = browser.form("/case") | {"said": "real", "confidence": "3"}
    for path in ("/answer", "/welcome", "/leave", "/nowhere"):
        assert browser.http.post(path, data=valid, headers=headers).status_code == 403
    assert stored(tiny_study) == 0
    assert sum("from another origin" in line for line in logged(tiny_study)) == 4
    assert browser.http.get("/case").status_code == 200  # still signed in


@pytest.mark.parametrize("token", ["", "0" * 64, "\u2603"])
def test_forms_without_their_token(browse, tiny_study, token) -> None:
    browser = browse(0)
    assert browser.answer(csrf=token).status_code == 403
    assert browser.http.post("/leave", data={"csrf": token}).status_code == 403
    assert browser.answer(csrf=browse(1).form("/case")["csrf"]).status_code == 403  # nor with that of another visit
    assert stored(tiny_study) == 0
    assert any(
        "reader 1: request rejected: 403 POST /answer: no form token of this visit" in line
        for line in logged(tiny_study)
    )


@pytest.mark.parametrize("origin", ["null", "http://testserver", None])
def test_an_old_browser_is_admitted_by_its_form_token(browse, tiny_study, origin) -> None:
    browser = browse(0)
    del browser.http.headers["Sec-Fetch-Site"]
    browser.http.headers |= {"Origin": origin} if origin else {}
    assert browser.answer(csrf="").status_code == 403
    assert browser.answer().status_code == 200


def test_consent_cannot_be_skipped_or_forged(browse, tiny_study) -> None:
    browser = browse(0, consent=False)
    presentation = tiny_study.answers.next_step(
        tiny_study.answers.reader_by_token(tiny_study.tokens[0], address="")
    ).presentation_id
    fields = browser.form("/welcome") | {"presentation": presentation, "said": "real", "confidence": "3"}
    assert browser.http.post("/answer", data=fields, headers=JSON).status_code == 403
    for consent in ({}, {"consent": "no"}):
        assert browser.http.post("/welcome", data=browser.form("/welcome") | consent).status_code == 422
    assert stored(tiny_study) == 0


@pytest.mark.parametrize("cookie", ["x", "0" * 22, "' OR 1=1 --", "a" * 4000])
def test_forged_cookies(browse, tiny_study, cookie) -> None:
    http = browse().http
    http.cookies["reader"] = cookie
    http.cookies["organizer"] = cookie
    for path in ("/", "/case", "/picture/0", "/now", "/organizer"):
        assert http.get(path).status_code == 401
    assert http.post("/answer", data={}).status_code == 401
    assert sum("401" in line for line in logged(tiny_study)) == 6


COMMENT = "'); DROP TABLE reading; -- <script>alert(1)</script> <img src=x onerror=alert(1)> {{ 7*7 }} \u202e\U0001f600"


def test_injection_in_a_comment(browse, tiny_study) -> None:
    """It is stored verbatim, and no page of the study shows it."""
    browser = browse(0)
    assert browser.answer(comment=COMMENT).status_code == 200
    with tiny_study.database.read_session() as session:
        assert session.scalars(select(Reading.comment)).all() == [COMMENT]
    for path in ("/case", "/pause", "/instructions"):
        assert "alert(1)" not in browser.http.get(path).text
    for _ in range(6):
        assert browser.answer(comment=COMMENT).status_code == 200
    assert "alert(1)" not in browser.http.get("/thanks").text


def test_injection_in_an_address(browse, tiny_study) -> None:
    reply = browse(0).http.get("/<script>alert(1)</script>%0d%0a")
    assert reply.status_code == 404
    assert "<script>alert" not in reply.text
    assert all(line.isprintable() for line in logged(tiny_study))


def test_oversized_bodies(browse, tiny_study) -> None:
    browser = browse(0)
    fields = browser.form("/case") | {"said": "real", "confidence": "3"}
    large = "x" * 100_000
    assert browser.http.post("/answer", data=fields | {"comment": large}, headers=JSON).status_code == 413
    assert browser.http.post("/answer", content=(large.encode() for _ in range(3))).status_code == 413  # chunked
    for length in ("1" * 30, "-1", "x"):
        assert browser.http.post("/answer", content=b"", headers={"Content-Length": length}).status_code == 413
    many = "&".join(f"f{n}=" for n in range(5000))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert browser.http.post("/answer", content=many, headers=form).status_code == 400
    assert stored(tiny_study) == 0
    assert sum("413 POST /answer" in line for line in logged(tiny_study)) == 5
    assert browser.answer().status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "HEAD", "EVIL"])
def test_other_methods(browse, tiny_study, method) -> None:
    browser = browse(0)
    assert browser.http.request(method, "/answer").status_code == 405
    assert any("405" in line for line in logged(tiny_study))


def test_a_flood_of_forms(browse, tiny_study) -> None:
    browser = browse(0)
    state = browser.http.app.state.study
    object.__setattr__(state, "form_posts", RateLimiter(burst=2, per_second=0.1))
    replies = [browser.answer() for _ in range(4)]
    assert [r.status_code for r in replies] == [200, 200, 429, 429]
    assert int(replies[-1].headers["Retry-After"]) >= 9
    assert stored(tiny_study) == 2


def test_the_audit_log_cannot_be_flooded(browse, tiny_study) -> None:
    http = browse().http
    for n in range(100):
        assert http.get(f"/nowhere/{n}").status_code == 404
    assert 60 <= len(tiny_study.answers.audit_log(last=1000)) < 75


def test_a_valid_link_cannot_be_opened_without_limit(browse, tiny_study) -> None:
    """Each opening without a cookie stores a visit."""
    http = browse(0, consent=False).http
    replies = []
    for _ in range(25):
        http.cookies.clear()
        replies.append(http.get(f"/r/{tiny_study.tokens[0]}").status_code)
    assert replies == [303] * 19 + [429] * 6  # the first was opened by `browse`
    http.cookies.clear()
    assert http.get(f"/r/{tiny_study.tokens[1]}").status_code == 303
