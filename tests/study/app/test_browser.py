"""Two simulated readers in a real browser: one uses only the keyboard, one a touch screen."""

import io

import numpy as np
import pytest
from PIL import Image

from histosynth.study.records.tables import Picture, Presentation

expect = pytest.importorskip("playwright.sync_api").expect
TABLET = {"viewport": {"width": 820, "height": 1180}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


def test_reading_with_only_the_keyboard_on_a_desktop(open_reader_page, server, tiny_study) -> None:
    page = open_reader_page().page
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
    keys = ["r", "s", "r", "s", "r", "s", "r"]
    for number, key in enumerate(keys):
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
            page.locator("textarea").type("s 1 r\n2")  # typed into the comment, not a choice
            page.locator("textarea").press("Tab")
            press("Enter")
        else:
            press("Enter")
        if practice:
            expect(page.locator(".verdict")).to_contain_text(("real", "synthetic")[number])
            expect(page.locator(".frame.live")).to_be_visible()  # its script is running
            press("Enter")
    page.wait_for_url("**/thanks")
    readings = tiny_study.readings()
    assert [r.said for r in readings] == [{"r": "real", "s": "synthetic"}[key] for key in keys]
    assert [r.confidence for r in readings] == [1, 2, 3, 4, 5, 1, 2]
    assert [r.changes for r in readings] == [1] * 7
    assert [r.comment for r in readings] == ["", "", "", "s 1 r\n2", "", "", ""]
    assert all(0 < r.seconds < 30 for r in readings)
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]


def test_reading_by_touch_on_a_tablet(open_reader_page, server, tiny_study) -> None:
    page = open_reader_page(1, **TABLET).page
    page.goto(f"{server}/r/{tiny_study.tokens[1]}")
    page.get_by_label("I have read this").tap()
    page.get_by_role("button", name="Begin").tap()
    page.get_by_role("link", name="Begin the practice").tap()
    for number in range(7):
        expect(page.locator(".frame.live")).to_be_visible()
        if number == 2:
            too_small = page.locator("a, button, summary, .choice label").evaluate_all(
                "all => all.map(e => [e.textContent.trim(), e.getBoundingClientRect()])"
                ".filter(([, box]) => box.width < 44 || box.height < 44).map(([text]) => text)"
            )
            assert too_small == []
            next_bottom = page.locator(".next").evaluate("e => e.getBoundingClientRect().bottom")
            assert next_bottom <= 1180  # nothing to scroll
            before = page.locator(".frame img").bounding_box()
            page.locator("summary").tap()
            page.locator("textarea").fill("the patch keeps its size")
            assert page.locator(".frame img").bounding_box() == before
            page.locator("summary").tap()
            pinch(page)
            page.get_by_role("button", name="Whole patch").tap()
            expect(page.locator("output")).to_have_text("1×")
        page.get_by_role("radio", name=("Synthetic", "Real")[number % 2]).tap()
        page.locator(f"[name=confidence][value='{1 + number % 5}']").tap()
        page.get_by_role("button", name="Next").tap()
        if number < 2:
            page.locator("#continue").tap()
    page.wait_for_url("**/thanks")
    readings = tiny_study.readings(2)
    assert [(r.said, r.confidence) for r in readings] == [(("synthetic", "real")[n % 2], 1 + n % 5) for n in range(7)]
    page.get_by_role("button", name="Sign out").tap()
    expect(page.get_by_role("heading")).to_have_text("You are signed out on this computer")


def pinch(page) -> None:
    """Move two fingers apart to twice their distance, as native input of the browser."""
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


def test_each_patch_pixel_is_a_square_of_screen_pixels(open_reader_page, server, tiny_study) -> None:
    """Each block of the screenshot has its pixel's color: at 1x in all of a noise patch, at 8x in its center."""
    reader_page = open_reader_page()
    page = reader_page.page
    reader_page.begin()
    expect(page.locator(".frame.live")).to_be_visible()
    presentation = page.locator("[name=presentation]").input_value()
    with tiny_study.database.read_session() as session:
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
    assert under == pytest.approx((0.4, 0.6), abs=0.001)  # the point under the mouse stays there
    page.mouse.down()
    page.mouse.move(at[0] - 50, at[1] + 20, steps=3)
    page.mouse.up()
    moved = page.locator(".frame img").bounding_box()
    assert (moved["x"] - zoomed["x"], moved["y"] - zoomed["y"]) == pytest.approx((-50, 20), abs=1)


def screenshot(page, box) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(page.screenshot(clip=box))).convert("RGB"))
