"""What may go wrong between a press of Next and the disk, in a real browser: no answer is lost, none is doubled."""

import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from histosynth.study.records.database import Presentation

expect = pytest.importorskip("playwright.sync_api").expect


def test_two_tabs_and_the_back_button(open_reader_page, server, tiny_study) -> None:
    seat = open_reader_page()
    page = seat.page
    seat.begin()
    other = page.context.new_page()
    other.goto(f"{server}/case")
    type(seat)(other, server, "").answer("Synthetic", 4, press=False)
    seat.answer("Real", 2)
    expect(page.locator(".verdict")).to_be_visible()
    other.get_by_role("button", name="Next").click()
    expect(other.locator("#state")).to_contain_text("Answers are final")
    other.get_by_role("button", name="Go to the present case").click()
    expect(other.get_by_role("heading")).to_have_text("Practice case 2 of 2")
    assert [(r.said, r.confidence) for r in tiny_study.readings()] == [("real", 2)]

    page.locator("#onward").click()
    seat.answer()
    page.locator("#onward").click()
    other.evaluate("window.dispatchEvent(new Event('focus'))")  # the second tab is looked at again
    expect(other.locator("#state")).to_contain_text("answered in another window")
    expect(other.get_by_role("radio", name="Real")).to_be_disabled()
    other.close()

    expect(page.get_by_role("heading")).to_have_text("Case 1 of 5")
    seat.answer()
    expect(page.get_by_role("heading")).to_have_text("Case 2 of 5")
    page.go_back()
    page.goto(f"{server}/case")
    expect(page.get_by_role("heading")).to_have_text("Case 2 of 5")
    assert len(tiny_study.readings()) == 3


def test_double_clicks_and_a_held_key(open_reader_page, server, tiny_study) -> None:
    seat = open_reader_page()
    page = seat.page
    seat.begin()
    seat.through_practice()
    seat.answer(press=False)
    page.get_by_role("button", name="Next").dblclick()
    expect(page.get_by_role("heading")).to_have_text("Case 2 of 5")
    seat.answer(press=False)
    for _ in range(5):
        page.keyboard.down("Enter")  # the second and later ones repeat
    page.keyboard.up("Enter")
    expect(page.get_by_role("heading")).to_have_text("Case 3 of 5")
    assert len(tiny_study.readings()) == 4


def test_a_choice_made_before_the_scripts_have_loaded(open_reader_page, server, tiny_study) -> None:
    seat = open_reader_page()
    page = seat.page
    seat.begin()
    waiting = []
    page.route("**/case.js", lambda route: waiting.append(route))
    page.reload(wait_until="commit")
    seat.answer("Synthetic", 5, press=False)
    while not waiting:
        page.wait_for_timeout(20)
    waiting.pop().continue_()
    expect(page.locator(".frame.live")).to_be_visible()
    page.get_by_role("button", name="Next").click()
    expect(page.locator(".verdict")).to_be_visible()
    assert [(r.said, r.confidence) for r in tiny_study.readings()] == [("synthetic", 5)]


def test_reload_and_pause_keep_what_was_chosen(open_reader_page, server, tiny_study) -> None:
    seat = open_reader_page()
    page = seat.page
    seat.begin()
    seat.answer("Synthetic", 5, press=False)
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
    (kept,) = tiny_study.readings()
    assert (kept.said, kept.confidence, kept.comment, kept.changes) == ("synthetic", 5, "smeared nuclei", 0)
    with tiny_study.database.read_session() as session:
        shown_at = session.get_one(Presentation, kept.presentation_id).shown_at
    passed = np.datetime64(kept.answered_at[:-6]) - np.datetime64(shown_at[:-6])
    assert kept.seconds + 1.2 < passed / np.timedelta64(1, "s")  # the pause does not count
    assert page.evaluate("localStorage.length") == 0


def test_a_picture_that_does_not_come(open_reader_page, server, tiny_study) -> None:
    """It is asked for again, and nobody answers what was not seen."""
    seat = open_reader_page()
    page = seat.page
    seat.begin()
    waiting = []
    page.route("**/picture/*", lambda route: waiting.append(route) if waiting else (waiting.append(0), route.abort()))
    page.reload()
    seat.answer("Synthetic", 5)
    expect(page.locator("#state")).to_contain_text("The patch has not loaded yet")
    assert tiny_study.readings() == []
    while len(waiting) < 2:
        page.wait_for_timeout(20)
    waiting[1].continue_()
    expect(page.locator(".frame.live")).to_be_visible()
    expect(page.locator("#state")).to_be_empty()
    page.get_by_role("button", name="Next").click()
    expect(page.locator(".verdict")).to_be_visible()
    assert len(tiny_study.readings()) == 1


def test_offline_and_online_again(open_reader_page, server, tiny_study) -> None:
    seat = open_reader_page()
    page = seat.page
    seat.begin()
    seat.through_practice()
    page.context.set_offline(True)
    seat.answer("Synthetic", 1)
    status = page.locator("#state")
    expect(status).to_contain_text("Not saved yet: trying again")
    expect(page.get_by_role("button", name="Next")).to_be_disabled()
    assert len(tiny_study.readings()) == 2
    page.context.set_offline(False)
    expect(page.get_by_role("heading")).to_have_text("Case 2 of 5")
    assert tiny_study.readings()[-1].said == "synthetic"


def test_a_reply_that_is_lost(open_reader_page, server, tiny_study) -> None:
    """The answer is on disk, the page does not know: it sends it again, and is told that it is there."""
    seat = open_reader_page()
    page = seat.page
    seat.begin()
    seat.through_practice()
    lost = []

    def lose(route) -> None:
        if not lost:
            lost.append(route.fetch().json())
            route.abort()
        else:
            route.continue_()

    page.route("**/answer", lose)
    seat.answer("Synthetic", 1)
    expect(page.get_by_role("heading")).to_have_text("Case 2 of 5")
    assert len(lost) == 1
    assert len(tiny_study.readings()) == 3


def test_a_link_revoked_in_the_middle(open_reader_page, server, tiny_study) -> None:
    seat = open_reader_page()
    page = seat.page
    seat.begin()
    page.context.clear_cookies()
    seat.answer("Synthetic", 4)
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


def test_kill_9_of_the_server(open_reader_page, tiny_study) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = start(tiny_study, port)
    try:
        seat = open_reader_page(server=f"http://127.0.0.1:{port}")
        page = seat.page
        seat.begin()
        seat.through_practice()
        seat.answer("Synthetic", 5)
        expect(page.get_by_role("heading")).to_have_text("Case 2 of 5")
        expect(page.locator(".frame.live")).to_be_visible()
        process.send_signal(signal.SIGKILL)
        process.wait()
        seat.answer("Synthetic", 1)
        expect(page.locator("#state")).to_contain_text("Not saved yet: trying again")
        process = start(tiny_study, port)
        page.get_by_role("button", name="Try now").click()
        expect(page.get_by_role("heading")).to_have_text("Case 3 of 5")
        assert [r.confidence for r in tiny_study.readings()] == [3, 3, 5, 1]
    finally:
        process.kill()
        process.wait()
