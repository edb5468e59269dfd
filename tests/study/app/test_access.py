"""Who sees what over HTTP: links, cookies and visits, pages that reveal no truth, and the organizer's page."""

import re

from sqlalchemy import update

from histosynth.study.records.tables import Reader, Study, now
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
