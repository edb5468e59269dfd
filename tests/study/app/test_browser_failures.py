"""Failures between a click on Next and the disk, in a real browser: no answer is lost, and none is stored twice."""

import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from histosynth.study.records.tables import Presentation

expect = pytest.importorskip("playwright.sync_api").expect


def test_two_tabs_and_the_back_button(open_reader_page, server, tiny_study) -> None:
    reader_page = open_reader_page()
    page = reader_page.page
    reader_page.begin()
    other = page.context.new_page()
    other.goto(f"{server}/case")
    type(reader_page)(other, server, "").answer("Synthetic", 4, press=False)
    reader_page.answer("Real", 2)
    expect(page.locator(".verdict")).to_be_visible()
    other.get_by_role("button", name="Next").click()
    expect(other.locator("#state")).to_contain_text("Answers are final")
    other.get_by_role("button", name="Go to the current case").click()
    expect(other.get_by_role("heading")).to_have_text("Practice case 2 of 2")
    assert [(r.said, r.confidence) for r in tiny_study.readings()] == [("real", 2)]

    page.locator("#continue").click()
    reader_page.answer()
    page.locator("#continue").click()
    other.evaluate("window.dispatchEvent(new Event('focus'))")  # the second tab becomes active again
    expect(other.locator("#state")).to_contain_text("answered in another window")
    expect(other.get_by_role("radio", name="Real")).to_be_disabled()
    other.close()

    expect(page.get_by_role("heading")).to_have_text("Case 1 of 5")
    reader_page.answer()
    expect(page.get_by_role("heading")).to_have_text("Case 2 of 5")
    page.go_back()
    page.goto(f"{server}/case")
    expect(page.get_by_role("heading")).to_have_text("Case 2 of 5")
    assert len(tiny_study.readings()) == 3


def test_double_clicks_and_a_held_key(open_reader_page, server, tiny_study) -> None:
    reader_page = open_reader_page()
    page = reader_page.page
    reader_page.begin()
    reader_page.through_practice()
    reader_page.answer(press=False)
    page.get_by_role("button", name="Next").dblclick()
    expect(page.get_by_role("heading")).to_have_text("Case 2 of 5")
    reader_page.answer(press=False)
    for _ in range(5):
        page.keyboard.down("Enter")  # the second and later events are repeats
    page.keyboard.up("Enter")
    expect(page.get_by_role("heading")).to_have_text("Case 3 of 5")
    assert len(tiny_study.readings()) == 4


def test_a_choice_made_before_the_scripts_loaded_is_kept(open_reader_page, server, tiny_study) -> None:
    reader_page = open_reader_page()
    page = reader_page.page
    reader_page.begin()
    waiting = []
    page.route("**/case.js", lambda route: waiting.append(route))
    page.reload(wait_until="commit")
    reader_page.answer("Synthetic", 5, press=False)
    while not waiting:
        page.wait_for_timeout(20)
    waiting.pop().continue_()
    expect(page.locator(".frame.live")).to_be_visible()
    page.get_by_role("button", name="Next").click()
    expect(page.locator(".verdict")).to_be_visible()
    assert [(r.said, r.confidence) for r in tiny_study.readings()] == [("synthetic", 5)]


def test_reload_and_pause_keep_the_choice(open_reader_page, server, tiny_study) -> None:
    reader_page = open_reader_page()
    page = reader_page.page
    reader_page.begin()
    reader_page.answer("Synthetic", 5, press=False)
    page.locator("summary").click()
    page.locator("textarea").fill("smeared nuclei")
    page.reload()
    expect(page.get_by_role("radio", name="Synthetic")).to_be_checked()
    page.get_by_role("link", name="Pause").click()
    expect(page.get_by_role("heading")).to_have_text("All your answers are saved")
    page.wait_for_timeout(1200)
    page.get_by_role("link", name="Continue").click()
    expect(page.locator("[name=confidence][value='5']")).to_be_checked()
    expect(page.locator("textarea")).to_have_value("smeared nuclei")
    page.get_by_role("button", name="Next").click()
    expect(page.locator(".verdict")).to_be_visible()
    (reading,) = tiny_study.readings()
    assert (reading.said, reading.confidence, reading.comment, reading.changes) == ("synthetic", 5, "smeared nuclei", 0)
    with tiny_study.database.read_session() as session:
        shown_at = session.get_one(Presentation, reading.presentation_id).shown_at
    elapsed = np.datetime64(reading.answered_at[:-6]) - np.datetime64(shown_at[:-6])
    assert reading.seconds + 1.2 < elapsed / np.timedelta64(1, "s")  # the pause is not counted
    assert page.evaluate("localStorage.length") == 0


def test_a_picture_that_fails_to_load(open_reader_page, server, tiny_study) -> None:
    """It is requested again, and a case cannot be answered before its picture is shown."""
    reader_page = open_reader_page()
    page = reader_page.page
    reader_page.begin()
    waiting = []
    page.route("**/picture/*", lambda route: waiting.append(route) if waiting else (waiting.append(0), route.abort()))
    page.reload()
    reader_page.answer("Synthetic", 5)
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


def test_an_answer_given_offline_is_saved_once_online(open_reader_page, server, tiny_study) -> None:
    reader_page = open_reader_page()
    page = reader_page.page
    reader_page.begin()
    reader_page.through_practice()
    page.context.set_offline(True)
    reader_page.answer("Synthetic", 1)
    status = page.locator("#state")
    expect(status).to_contain_text("Not saved yet. Trying again")
    expect(page.get_by_role("button", name="Next")).to_be_disabled()
    assert len(tiny_study.readings()) == 2
    page.context.set_offline(False)
    expect(page.get_by_role("heading")).to_have_text("Case 2 of 5")
    assert tiny_study.readings()[-1].said == "synthetic"


def test_a_lost_reply(open_reader_page, server, tiny_study) -> None:
    """The answer is on disk, but the page does not know: it sends the answer again, and the server confirms it."""
    reader_page = open_reader_page()
    page = reader_page.page
    reader_page.begin()
    reader_page.through_practice()
    lost = []

    def lose(route) -> None:
        if not lost:
            lost.append(route.fetch().json())
            route.abort()
        else:
            route.continue_()

    page.route("**/answer", lose)
    reader_page.answer("Synthetic", 1)
    expect(page.get_by_role("heading")).to_have_text("Case 2 of 5")
    assert len(lost) == 1
    assert len(tiny_study.readings()) == 3


def test_a_visit_that_ends_during_a_case(open_reader_page, server, tiny_study) -> None:
    reader_page = open_reader_page()
    page = reader_page.page
    reader_page.begin()
    page.context.clear_cookies()
    reader_page.answer("Synthetic", 4)
    expect(page.locator("#state")).to_contain_text("Please open the link again to continue where you stopped")
    page.goto(f"{server}/r/{tiny_study.tokens[0]}")
    expect(page.get_by_role("radio", name="Synthetic")).to_be_checked()  # the choice is kept


def start(study, port: int) -> subprocess.Popen:
    """Start the server in its own process, which can be killed."""
    code = (
        "import sys, uvicorn; from histosynth.study.app import create_app; "
        "from histosynth.web_server.timeouts import server_settings; "
        "from histosynth.study.records.database import Database; app = create_app(Database(sys.argv[1])); "
        "uvicorn.run(app, port=int(sys.argv[2]), log_level='warning', **server_settings())"
    )
    process = subprocess.Popen([sys.executable, "-c", code, study.url, str(port)])
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process
        time.sleep(0.05)
    raise AssertionError("the server did not start")


def test_the_server_is_killed_and_restarted(open_reader_page, tiny_study) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = start(tiny_study, port)
    try:
        reader_page = open_reader_page(server=f"http://127.0.0.1:{port}")
        page = reader_page.page
        reader_page.begin()
        reader_page.through_practice()
        reader_page.answer("Synthetic", 5)
        expect(page.get_by_role("heading")).to_have_text("Case 2 of 5")
        expect(page.locator(".frame.live")).to_be_visible()
        process.send_signal(signal.SIGKILL)
        process.wait()
        reader_page.answer("Synthetic", 1)
        expect(page.locator("#state")).to_contain_text("Not saved yet. Trying again")
        process = start(tiny_study, port)
        page.get_by_role("button", name="Try now").click()
        expect(page.get_by_role("heading")).to_have_text("Case 3 of 5")
        assert [r.confidence for r in tiny_study.readings()] == [3, 3, 5, 1]
    finally:
        process.kill()
        process.wait()
