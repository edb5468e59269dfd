"""Two simulated readers in a real browser, and what may go wrong between a press of Next and the disk."""

import io
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from histosynth.study.database import Picture, Presentation, Reading

CHROMIUM = shutil.which("chromium")
playwright_api = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")
expect = playwright_api.expect
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
TABLET = {"viewport": {"width": 820, "height": 1180}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


@pytest.fixture(scope="module")
def chromium() -> Iterator["playwright_api.Browser"]:
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium) -> Iterator[Callable]:
    """Open a page in a context of its own; anything that its console calls an error fails the test."""
    contexts, errors = [], []

    def opened(**options):
        context = chromium.new_context(**options)
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda told: errors.append(told.text) if "Security Policy" in told.text else None)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []


def readings(study, reader: int = 1) -> list[Reading]:
    with study.database.looking() as session:
        query = select(Reading).join(Presentation).where(Presentation.reader_id == reader)
        return list(session.scalars(query.order_by(Presentation.position)))


def begin(page, server: str, token: str) -> None:
    """From the link to the first case."""
    page.goto(f"{server}/r/{token}")
    page.get_by_label("I have read this").check()
    page.get_by_role("button", name="Begin").click()
    page.get_by_role("link", name="Begin the practice").click()
    expect(page.get_by_role("heading")).to_have_text("Practice case 1 of 2")


def answer(page, said: str = "Real", confidence: int = 3, *, press: bool = True) -> None:
    page.get_by_role("radio", name=said).check()
    page.locator(f"[name=confidence][value='{confidence}']").check()
    if press:
        page.get_by_role("button", name="Next").click()


def through_practice(page) -> None:
    for _ in range(2):
        answer(page)
        page.locator("#onward").click()
    expect(page.get_by_role("heading")).to_have_text("Case 1 of 5")


def test_keyboard_alone_on_a_desktop(open_page, server, tiny_study) -> None:
    page = open_page(**DESKTOP)
    page.goto(f"{server}/r/{tiny_study.tokens[0]}")
    assert page.url == f"{server}/welcome"
    press = page.keyboard.press
    for key in ("Tab", "Space", "Tab", "Enter"):
        press(key)
    page.wait_for_url("**/instructions")
    for key in ("Tab", "Enter"):
        press(key)
    page.wait_for_url("**/case")
    heading = page.get_by_role("heading")
    said = ["r", "s", "r", "s", "r", "s", "r"]
    for number, key in enumerate(said):
        practice = number < 2
        expect(heading).to_have_text(f"Practice case {number + 1} of 2" if practice else f"Case {number - 1} of 5")
        expect(page.locator(".frame.live")).to_be_visible()
        assert page.evaluate("document.activeElement === document.body")
        for zoom in ("+", "+", "ArrowLeft"):
            press(zoom)
        press("Enter")  # nothing chosen yet
        expect(page.locator("#state")).to_contain_text("Real or synthetic? Please choose one.")
        press("s" if key == "r" else "r")
        press(key)  # a change of mind
        press(str(1 + number % 5))
        expect(page.locator("output")).to_have_text("3×")
        press("0")
        expect(page.locator("output")).to_have_text("1×")
        if number == 3:
            page.locator("summary").press("Enter")
            page.locator("textarea").type("s 1 r\n2")  # typed, not chosen
            page.locator("textarea").press("Tab")
            press("Enter")
        else:
            press("Enter")
        if practice:
            expect(page.locator(".verdict")).to_contain_text(("real", "synthetic")[number])
            press("Enter")
    page.wait_for_url("**/thanks")
    kept = readings(tiny_study)
    assert [r.said for r in kept] == [{"r": "real", "s": "synthetic"}[key] for key in said]
    assert [r.confidence for r in kept] == [1, 2, 3, 4, 5, 1, 2]
    assert [r.changes for r in kept] == [1] * 7
    assert [r.comment for r in kept] == ["", "", "", "s 1 r\n2", "", "", ""]
    assert all(0 < r.seconds < 30 for r in kept)
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]


def test_touch_on_a_tablet(open_page, server, tiny_study) -> None:
    page = open_page(**TABLET)
    page.goto(f"{server}/r/{tiny_study.tokens[1]}")
    page.get_by_label("I have read this").tap()
    page.get_by_role("button", name="Begin").tap()
    page.get_by_role("link", name="Begin the practice").tap()
    for number in range(7):
        expect(page.locator(".frame.live")).to_be_visible()
        if number == 2:
            small = page.locator("a, button, summary, .choice label").evaluate_all(
                "all => all.map(e => [e.textContent.trim(), e.getBoundingClientRect()])"
                ".filter(([, box]) => box.width < 44 || box.height < 44).map(([text]) => text)"
            )
            assert small == []
            next_bottom = page.locator(".next").evaluate("e => e.getBoundingClientRect().bottom")
            assert next_bottom <= 1180  # nothing to scroll
            pinch(page)
            page.get_by_role("button", name="Whole patch").tap()
            expect(page.locator("output")).to_have_text("1×")
        page.get_by_role("radio", name=("Synthetic", "Real")[number % 2]).tap()
        page.locator(f"[name=confidence][value='{1 + number % 5}']").tap()
        page.get_by_role("button", name="Next").tap()
        if number < 2:
            page.locator("#onward").tap()
    page.wait_for_url("**/thanks")
    kept = readings(tiny_study, reader=2)
    assert [(r.said, r.confidence) for r in kept] == [(("synthetic", "real")[n % 2], 1 + n % 5) for n in range(7)]
    page.get_by_role("button", name="Sign out").tap()
    expect(page.get_by_role("heading")).to_have_text("This computer no longer knows you")


def pinch(page) -> None:
    """Two fingers apart to twice their distance, as the browser's own input."""
    box = page.locator(".frame").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    send = page.context.new_cdp_session(page).send

    def touch(kind: str, spread: float) -> None:
        points = [{"x": x - spread, "y": y, "id": 0}, {"x": x + spread, "y": y, "id": 1}]
        send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [] if kind == "touchEnd" else points})

    touch("touchStart", 60)
    for spread in range(60, 125, 5):
        touch("touchMove", spread)
    touch("touchEnd", 0)
    expect(page.locator("output")).to_have_text("2×")


def test_every_pixel_of_the_patch_is_a_square_of_the_screen(open_page, server, tiny_study) -> None:
    """Of noise: each block of the screenshot is one color, that of the patch; at 1x all of it, at 8x its middle."""
    page = open_page(**DESKTOP)
    begin(page, server, tiny_study.tokens[0])
    expect(page.locator(".frame.live")).to_be_visible()
    presentation = page.locator("[name=presentation]").input_value()
    with tiny_study.database.looking() as session:
        case = session.get_one(Presentation, presentation).case_id
        patch = np.asarray(Image.open(io.BytesIO(session.get_one(Picture, case).png)).convert("RGB"))
    box = page.locator(".frame img").bounding_box()
    scale = box["width"] / 32
    assert scale == int(scale) > 16
    whole = screenshot(page, box)
    assert (whole == patch.repeat(int(scale), 0).repeat(int(scale), 1)).all()
    page.keyboard.press("+")
    for _ in range(9):
        page.keyboard.press("+")
    expect(page.locator("output")).to_have_text("8×")
    image, frame = page.locator(".frame img").bounding_box(), page.locator(".frame").bounding_box()
    assert image["width"] == 8 * box["width"]
    seen = screenshot(page, frame)
    rows, columns = (
        ((np.arange(seen.shape[axis]) + frame[name] - image[name]) // (8 * scale)).astype(int)
        for axis, name in ((0, "y"), (1, "x"))
    )
    assert (seen == patch[rows][:, columns]).all()
    page.keyboard.press("0")
    expect(page.locator("output")).to_have_text("1×")
    at = (box["x"] + 0.4 * box["width"], box["y"] + 0.6 * box["height"])
    page.mouse.move(*at)
    page.mouse.wheel(0, -100)
    expect(page.locator("output")).to_have_text("2×")
    zoomed = page.locator(".frame img").bounding_box()
    under = ((at[0] - zoomed["x"]) / zoomed["width"], (at[1] - zoomed["y"]) / zoomed["height"])
    assert under == pytest.approx((0.4, 0.6), abs=0.001)  # what was under the mouse stays there
    page.mouse.down()
    page.mouse.move(at[0] - 50, at[1] + 20, steps=3)
    page.mouse.up()
    moved = page.locator(".frame img").bounding_box()
    assert (moved["x"] - zoomed["x"], moved["y"] - zoomed["y"]) == pytest.approx((-50, 20), abs=1)


def screenshot(page, box) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(page.screenshot(clip=box))).convert("RGB"))


def test_two_tabs_and_the_back_button(open_page, server, tiny_study) -> None:
    page = open_page(**DESKTOP)
    begin(page, server, tiny_study.tokens[0])
    other = page.context.new_page()
    other.goto(f"{server}/case")
    answer(other, "Synthetic", 4, press=False)
    answer(page, "Real", 2)
    expect(page.locator(".verdict")).to_be_visible()
    other.get_by_role("button", name="Next").click()
    expect(other.locator("#state")).to_contain_text("Answers are final")
    other.get_by_role("button", name="Go to the present case").click()
    expect(other.get_by_role("heading")).to_have_text("Practice case 2 of 2")
    assert [(r.said, r.confidence) for r in readings(tiny_study)] == [("real", 2)]

    page.locator("#onward").click()
    answer(page)
    page.locator("#onward").click()
    other.evaluate("window.dispatchEvent(new Event('focus'))")  # the second tab is looked at again
    expect(other.locator("#state")).to_contain_text("answered in another window")
    expect(other.get_by_role("radio", name="Real")).to_be_disabled()
    other.close()

    expect(page.get_by_role("heading")).to_have_text("Case 1 of 5")
    answer(page)
    expect(page.get_by_role("heading")).to_have_text("Case 2 of 5")
    page.go_back()
    page.goto(f"{server}/case")
    expect(page.get_by_role("heading")).to_have_text("Case 2 of 5")
    assert len(readings(tiny_study)) == 3


def test_double_clicks_and_a_held_key(open_page, server, tiny_study) -> None:
    page = open_page(**DESKTOP)
    begin(page, server, tiny_study.tokens[0])
    through_practice(page)
    answer(page, press=False)
    page.get_by_role("button", name="Next").dblclick()
    expect(page.get_by_role("heading")).to_have_text("Case 2 of 5")
    answer(page, press=False)
    for _ in range(5):
        page.keyboard.down("Enter")  # the second and later ones repeat
    page.keyboard.up("Enter")
    expect(page.get_by_role("heading")).to_have_text("Case 3 of 5")
    assert len(readings(tiny_study)) == 4


def test_reload_and_pause_keep_what_was_chosen(open_page, server, tiny_study) -> None:
    page = open_page(**DESKTOP)
    begin(page, server, tiny_study.tokens[0])
    answer(page, "Synthetic", 5, press=False)
    page.locator("summary").click()
    page.locator("textarea").fill("smeared nuclei")
    page.reload()
    expect(page.get_by_role("radio", name="Synthetic")).to_be_checked()
    page.get_by_role("link", name="Pause").click()
    expect(page.get_by_role("heading")).to_have_text("Everything is saved")
    page.wait_for_timeout(1200)
    page.get_by_role("link", name="Go on").click()
    expect(page.locator("[name=confidence][value='5']")).to_be_checked()
    expect(page.locator("textarea")).to_have_value("smeared nuclei")
    page.get_by_role("button", name="Next").click()
    expect(page.locator(".verdict")).to_be_visible()
    (kept,) = readings(tiny_study)
    assert (kept.said, kept.confidence, kept.comment, kept.changes) == ("synthetic", 5, "smeared nuclei", 0)
    with tiny_study.database.looking() as session:
        shown_at = session.get_one(Presentation, kept.presentation_id).shown_at
    passed = np.datetime64(kept.answered_at[:-6]) - np.datetime64(shown_at[:-6])
    assert kept.seconds + 1.2 < passed / np.timedelta64(1, "s")  # the pause does not count
    assert page.evaluate("localStorage.length") == 0


def test_offline_and_online_again(open_page, server, tiny_study) -> None:
    page = open_page(**DESKTOP)
    begin(page, server, tiny_study.tokens[0])
    through_practice(page)
    page.context.set_offline(True)
    answer(page, "Synthetic", 1)
    status = page.locator("#state")
    expect(status).to_contain_text("Not saved yet: trying again")
    expect(page.get_by_role("button", name="Next")).to_be_disabled()
    assert len(readings(tiny_study)) == 2
    page.context.set_offline(False)
    expect(page.get_by_role("heading")).to_have_text("Case 2 of 5")
    assert readings(tiny_study)[-1].said == "synthetic"


def test_a_reply_that_is_lost(open_page, server, tiny_study) -> None:
    """The answer is on disk, the page does not know: it sends it again, and is told that it is there."""
    page = open_page(**DESKTOP)
    begin(page, server, tiny_study.tokens[0])
    through_practice(page)
    lost = []

    def lose(route) -> None:
        if not lost:
            lost.append(route.fetch().json())
            route.abort()
        else:
            route.continue_()

    page.route("**/answer", lose)
    answer(page, "Synthetic", 1)
    expect(page.get_by_role("heading")).to_have_text("Case 2 of 5")
    assert len(lost) == 1
    assert len(readings(tiny_study)) == 3


def test_a_link_revoked_in_the_middle(open_page, server, tiny_study) -> None:
    page = open_page(**DESKTOP)
    begin(page, server, tiny_study.tokens[0])
    page.context.clear_cookies()
    answer(page, "Synthetic", 4)
    expect(page.locator("#state")).to_contain_text("Open it again, and go on where you stopped")
    page.goto(f"{server}/r/{tiny_study.tokens[0]}")
    expect(page.get_by_role("radio", name="Synthetic")).to_be_checked()  # not typed twice


def start(study, port: int) -> subprocess.Popen:
    """The server in a process of its own, which can be killed."""
    code = (
        "import sys, uvicorn; from histosynth.study.app import create_app, server_settings; "
        "uvicorn.run(create_app(sys.argv[1]), port=int(sys.argv[2]), log_level='warning', **server_settings())"
    )
    process = subprocess.Popen([sys.executable, "-c", code, study.url, str(port)])
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process
        time.sleep(0.05)
    raise AssertionError("the server did not start")


def test_kill_9_of_the_server(open_page, tiny_study) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = start(tiny_study, port)
    try:
        page = open_page(**DESKTOP)
        begin(page, f"http://127.0.0.1:{port}", tiny_study.tokens[0])
        through_practice(page)
        answer(page, "Synthetic", 5)
        expect(page.get_by_role("heading")).to_have_text("Case 2 of 5")
        process.send_signal(signal.SIGKILL)
        process.wait()
        answer(page, "Synthetic", 1)
        expect(page.locator("#state")).to_contain_text("Not saved yet: trying again")
        process = start(tiny_study, port)
        page.get_by_role("button", name="Try now").click()
        expect(page.get_by_role("heading")).to_have_text("Case 3 of 5")
        assert [r.confidence for r in readings(tiny_study)] == [3, 3, 5, 1]
    finally:
        process.kill()
        process.wait()
