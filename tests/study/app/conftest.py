"""Browsers for tests of the page: one without scripts, and Chromium."""

import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class Browser:
    """A browser without scripts: it opens a link, keeps the cookie, and sends the page's forms."""

    def __init__(self, study: Any, *, token: str | None = None, base_url: str = "http://testserver") -> None:
        from fastapi.testclient import TestClient

        from histosynth.study.app import create_app

        self.http = TestClient(
            create_app(study.database), base_url=base_url, follow_redirects=False, raise_server_exceptions=False
        )
        self.http.headers["Sec-Fetch-Site"] = "same-origin"
        if token is not None:
            assert self.http.get(f"/r/{token}").status_code == 303

    def form(self, path: str) -> dict[str, str]:
        """Return the hidden fields of a page."""
        return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', self.http.get(path).text))

    def consent(self) -> "Browser":
        reply = self.http.post("/welcome", data=self.form("/welcome") | {"consent": "yes"})
        assert (reply.status_code, reply.headers["Location"]) == (303, "/instructions")
        return self

    def answer(self, **fields: object) -> Any:
        """Answer the current case as the page's script does; fields may be overridden."""
        data = {**self.form("/case"), "said": "real", "confidence": 3, "visible_ms": 0, **fields}
        return self.http.post("/answer", data=data, headers={"Accept": "application/json"})


@contextmanager
def serve(study: Any) -> Iterator[str]:
    """Serve a study from a thread, with the settings of `study serve`, and yield its address."""
    import uvicorn

    from histosynth.study.app import create_app
    from histosynth.web_server.timeouts import server_settings

    settings = server_settings()
    running = uvicorn.Server(uvicorn.Config(create_app(study.database), port=0, log_level="warning", **settings))
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started and thread.is_alive():
        time.sleep(0.01)
    yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    running.should_exit = True
    thread.join(timeout=20)


@pytest.fixture
def server(tiny_study: Any) -> Iterator[str]:
    """The address of a server of the tiny study."""
    with serve(tiny_study) as url:
        yield url


@pytest.fixture
def browse(tiny_study: Any) -> Callable[..., Browser]:
    """Open a browser at the tiny study: `browse(reader)` opens that reader's link and consents."""

    def browse(reader: int | None = None, *, consent: bool = True, **options: str) -> Browser:
        if reader is None:
            return Browser(tiny_study, **options)
        browser = Browser(tiny_study, token=tiny_study.tokens[reader], **options)
        return browser.consent() if consent else browser

    return browse


class ReaderPage:
    """A reader's page in a real browser."""

    def __init__(self, page: Any, server: str, token: str) -> None:
        self.page, self.server, self.token = page, server, token

    def begin(self) -> None:
        """Go from the link to the first case."""
        self.page.goto(f"{self.server}/r/{self.token}")
        self.page.get_by_label("I have read this").check()
        self.page.get_by_role("button", name="Begin").click()
        self.page.get_by_role("link", name="Begin the practice").click()
        self.page.get_by_role("heading", name="Practice case 1 of 2").wait_for()

    def answer(self, said: str = "Real", confidence: int = 3, *, press: bool = True) -> None:
        """Choose an answer, and press Next unless `press` is false."""
        self.page.get_by_role("radio", name=said).check()
        self.page.locator(f"[name=confidence][value='{confidence}']").check()
        if press:
            self.page.get_by_role("button", name="Next").click()

    def through_practice(self) -> None:
        """Go from the first practice case to the first main case."""
        for _ in range(2):
            self.answer()
            self.page.locator("#continue").click()
        self.page.get_by_role("heading", name="Case 1 of 5").wait_for()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Chromium; the test is skipped where it is not installed."""
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
    chromium: Any, tiny_study: Any, request: pytest.FixtureRequest
) -> Iterator[Callable[..., ReaderPage]]:
    """Open a page for a reader: `open_reader_page(reader, server)`.

    A script error or a violation of the content security policy fails the test.
    """
    contexts, errors = [], []

    def open_page(reader: int = 0, *, server: str | None = None, **options: Any) -> ReaderPage:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if "Security Policy" in line.text else None)
        return ReaderPage(page, server or request.getfixturevalue("server"), tiny_study.tokens[reader])

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
