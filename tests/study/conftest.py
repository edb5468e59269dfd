"""A small study for tests of the service layer and of the page: four main cases, two of practice, one repeat."""

import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import create_engine, select

from histosynth.store.png import encode_png
from histosynth.study.records.answers import Answers
from histosynth.study.records.database import (
    Base,
    Case,
    Database,
    Picture,
    Presentation,
    Reader,
    Reading,
    Study,
    now,
    open_study,
    sqlite_url,
)
from histosynth.study.records.tokens import hash_token, new_id, new_token


@dataclass(frozen=True, kw_only=True)
class TinyStudy:
    """Where it lies, and what the readers' links hold."""

    path: Path
    database: Database
    answers: Answers
    tokens: list[str]

    @property
    def url(self) -> str:
        return self.database.url.render_as_string(hide_password=False)

    def readings(self, reader_id: int = 1) -> list[Reading]:
        """What a reader has said, in the order of showing."""
        with self.database.read_session() as session:
            query = select(Reading).join(Presentation).where(Presentation.reader_id == reader_id)
            return list(session.scalars(query.order_by(Presentation.position)))


def fill(database: Database, *, readers: int, cases: int, practice: int, repeats: int) -> list[str]:
    """Write a study; the tokens of its readers."""
    rng = np.random.default_rng(0)
    tokens = [new_token() for _ in range(readers)]
    database.create_tables()
    with database.write_session() as session:
        settings = {"patch_px": 32, "mpp": 0.5}
        session.add(
            Study(id=1, title="A study", created_at=now(), seed=0, margin=0.1, alpha=0.05, settings=settings,
                  organizer_hash=None)
        )  # fmt: skip
        shown: dict[str, list[str]] = {"practice": [], "main": []}
        for number in range(practice + cases):
            part, truth = "practice" if number < practice else "main", ("real", "synthetic")[number % 2]
            case = Case(case_id=new_id(), part=part, label="ab"[number // 2 % 2], truth=truth,
                        source="real" if truth == "real" else "run", patch_id=f"patch_{number}",
                        patient_id=f"patient_{number}" if truth == "real" else None)  # fmt: skip
            session.add(case)
            session.flush()
            image = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            session.add(Picture(case_id=case.case_id, png=encode_png(image)))
            shown[part].append(case.case_id)
        for number, token in enumerate(tokens, 1):
            session.add(
                Reader(reader_id=number, name=f"Reader {number}", token_hash=hash_token(token),
                       expires_at=now(days=1), revoked_at=None, consented_at=None, finished_at=None)
            )  # fmt: skip
            session.flush()
            order = [*shown["practice"], *shown["main"], *shown["main"][:repeats]]
            for position, case_id in enumerate(order):
                part, is_repeat = "practice" if position < practice else "main", position >= practice + cases
                session.add(Presentation(presentation_id=new_id(), reader_id=number, position=position,
                                         case_id=case_id, part=part, is_repeat=is_repeat))  # fmt: skip
    return tokens


def study_of(path: Path, *, readers: int, cases: int, practice: int = 0, repeats: int = 0) -> TinyStudy:
    """A study in SQLite, or in the database that HISTOSYNTH_TEST_DATABASE names, which loses what it held."""
    path.mkdir()
    url = os.environ.get("HISTOSYNTH_TEST_DATABASE", sqlite_url(path))
    Base.metadata.drop_all(create_engine(url))
    tokens = fill(Database(url), readers=readers, cases=cases, practice=practice, repeats=repeats)
    database = open_study(path, database=url)
    return TinyStudy(path=path, database=database, answers=Answers(database), tokens=tokens)


@pytest.fixture
def tiny_study(tmp_path: Path) -> TinyStudy:
    """Two readers, two practice cases, four main cases, one repeat; nobody has consented yet."""
    return study_of(tmp_path / "study", readers=2, cases=4, practice=2, repeats=1)


@pytest.fixture
def many_cases(tmp_path: Path) -> TinyStudy:
    """One reader with 400 cases."""
    return study_of(tmp_path / "study", readers=1, cases=400)


class Browser:
    """A browser without scripts: it opens a link, keeps the cookie, and sends forms as the page's own would be."""

    def __init__(self, study: TinyStudy, *, token: str | None = None, base_url: str = "http://testserver") -> None:
        from fastapi.testclient import TestClient

        from histosynth.study.app import create_app

        self.http = TestClient(
            create_app(study.url), base_url=base_url, follow_redirects=False, raise_server_exceptions=False
        )
        self.http.headers["Sec-Fetch-Site"] = "same-origin"
        if token is not None:
            assert self.http.get(f"/r/{token}").status_code == 303

    def form(self, path: str) -> dict[str, str]:
        """The hidden fields of a page."""
        return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', self.http.get(path).text))

    def consent(self) -> "Browser":
        done = self.http.post("/welcome", data=self.form("/welcome") | {"consent": "yes"})
        assert (done.status_code, done.headers["Location"]) == (303, "/instructions")
        return self

    def answer(self, **fields: object) -> Any:
        """Answer the present case as the page's script does; fields may be overridden."""
        filled = {**self.form("/case"), "said": "real", "confidence": 3, "visible_ms": 0, **fields}
        return self.http.post("/answer", data=filled, headers={"Accept": "application/json"})


@contextmanager
def serving(study: TinyStudy) -> Iterator[str]:
    """The address of a server of its own, in a thread, with the settings of `study serve`."""
    import uvicorn

    from histosynth.study.app import create_app, server_settings

    settings = server_settings()
    running = uvicorn.Server(uvicorn.Config(create_app(study.url), port=0, log_level="warning", **settings))
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started and thread.is_alive():
        time.sleep(0.01)
    yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    running.should_exit = True
    thread.join(timeout=20)


@pytest.fixture
def server(tiny_study: TinyStudy) -> Iterator[str]:
    """The address of a server of the tiny study."""
    with serving(tiny_study) as url:
        yield url


@pytest.fixture
def browse(tiny_study: TinyStudy) -> Callable[..., Browser]:
    """Open a browser at the tiny study: `browse(reader)` comes by that reader's link and has consented."""

    def opened(reader: int | None = None, *, consent: bool = True, **options: str) -> Browser:
        if reader is None:
            return Browser(tiny_study, **options)
        browser = Browser(tiny_study, token=tiny_study.tokens[reader], **options)
        return browser.consent() if consent else browser

    return opened


class ReaderPage:
    """A reader before a real browser."""

    def __init__(self, page: Any, server: str, token: str) -> None:
        self.page, self.server, self.token = page, server, token

    def begin(self) -> None:
        """From the link to the first case."""
        self.page.goto(f"{self.server}/r/{self.token}")
        self.page.get_by_label("I have read this").check()
        self.page.get_by_role("button", name="Begin").click()
        self.page.get_by_role("link", name="Begin the practice").click()
        self.page.get_by_role("heading", name="Practice case 1 of 2").wait_for()

    def answer(self, said: str = "Real", confidence: int = 3, *, press: bool = True) -> None:
        """Choose, and press Next."""
        self.page.get_by_role("radio", name=said).check()
        self.page.locator(f"[name=confidence][value='{confidence}']").check()
        if press:
            self.page.get_by_role("button", name="Next").click()

    def through_practice(self) -> None:
        """From the first case to the first that counts."""
        for _ in range(2):
            self.answer()
            self.page.locator("#onward").click()
        self.page.get_by_role("heading", name="Case 1 of 5").wait_for()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser; the test skips where there is none."""
    if (path := shutil.which("chromium")) is None:
        pytest.skip("no chromium on the path")
    api = pytest.importorskip("playwright.sync_api")
    api.expect.set_options(timeout=15_000)
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_reader_page(
    chromium: Any, tiny_study: TinyStudy, request: pytest.FixtureRequest
) -> Iterator[Callable[..., ReaderPage]]:
    """Open a browser page for a reader: `open_reader_page(reader, server)`.

    A script error or a violation of the content security policy fails the test.
    """
    contexts, errors = [], []

    def seated(reader: int = 0, *, server: str | None = None, **options: Any) -> ReaderPage:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda told: errors.append(told.text) if "Security Policy" in told.text else None)
        return ReaderPage(page, server or request.getfixturevalue("server"), tiny_study.tokens[reader])

    yield seated
    for context in contexts:
        context.close()
    assert errors == []
