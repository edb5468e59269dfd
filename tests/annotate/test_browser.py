"""Outlining real slides in Chromium, by mouse and by pen, with a server that is killed in between."""

import base64
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from click.testing import CliRunner

from histosynth.annotate.start import PAGE
from histosynth.slides.annotations import outlined_classes, read_outlines

expect = pytest.importorskip("playwright.sync_api").expect
AXE = Path(__file__).resolve().parents[2] / "web" / "annotate" / "node_modules" / "axe-core" / "axe.min.js"
TABLET = {"viewport": {"width": 1024, "height": 768}, "has_touch": True}
Points = Sequence[tuple[float, float]]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Chromium; the test is skipped where it is not installed."""
    if (path := shutil.which("chromium")) is None:
        pytest.skip("no chromium on the path")
    if not (PAGE / "index.html").exists():
        pytest.skip("the page is not built; run: make page")
    api = pytest.importorskip("playwright.sync_api")
    api.expect.set_options(timeout=15_000)
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Server:
    """`histosynth annotate` in a process of its own."""

    def __init__(self, slides: Path, outlines: Path, *options: str) -> None:
        self.command = [sys.executable, "-m", "histosynth", "annotate", str(slides), "--out", str(outlines)]
        self.command += ["--annotator", "anna", *options]
        self.port = "0"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [*self.command, "--port", self.port], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        link = re.search(r"http://127\.0\.0\.1:(\d+)/\S+", line)
        assert link is not None, line + self.process.stdout.read()
        self.link, self.port = link[0], link[1]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """A function that starts a server of a folder of slides."""
    servers = []

    def start(slides: Path, *options: str) -> Server:
        servers.append(Server(slides, tmp_path / "outlines", *options))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


class Drawing:
    """A page on which a person draws; points are level-0 pixels."""

    def __init__(self, chromium: Any, server: Server, *, slide: str, **options: Any) -> None:
        self.context = chromium.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.server, self.slide = server, slide
        self.press = self.page.keyboard.press
        self.open()

    def open(self) -> None:
        self.page.goto(self.server.link)
        self.page.goto(f"{self.server.link.partition('/open')[0]}/#{self.slide}")
        expect(self.page.locator("#title")).to_have_text(self.slide)
        self.page.wait_for_function("document.getElementById('overlay').dataset.transform !== undefined")

    def on_screen(self, x: float, y: float) -> tuple[float, float]:
        box = self.page.locator("#overlay").bounding_box()
        a, b, c, d, e, f = map(float, self.page.locator("#overlay").get_attribute("data-transform").split())
        return box["x"] + a * x + c * y + e, box["y"] + b * x + d * y + f

    def drag(self, points: Points) -> None:
        mouse = self.page.mouse
        mouse.move(*self.on_screen(*points[0]))
        mouse.down()
        for point in points[1:]:
            mouse.move(*self.on_screen(*point), steps=5)
        mouse.up()

    def pen(self, points: Points) -> None:
        session = self.context.new_cdp_session(self.page)
        common = {"pointerType": "pen", "button": "left", "force": 0.5}

        def send(kind: str, point: tuple[float, float], **more: Any) -> None:
            x, y = self.on_screen(*point)
            session.send("Input.dispatchMouseEvent", {**common, "type": kind, "x": x, "y": y, "buttons": 1, **more})

        send("mousePressed", points[0], clickCount=1)
        for before, after in pairwise(points):
            for share in (0.25, 0.5, 0.75, 1.0):
                send("mouseMoved", tuple(np.add(np.multiply(before, 1 - share), np.multiply(after, share))))
        send("mouseReleased", points[-1], buttons=0, clickCount=1)

    def click(self, points: Points) -> None:
        for point in points:
            self.page.mouse.click(*self.on_screen(*point))
            self.page.wait_for_timeout(450)  # two clicks, not a double click

    def saved(self) -> None:
        expect(self.page.locator("#saved")).to_have_text("anna: saved")


def tumor(outlines: Path, slide: str) -> shapely.MultiPolygon:
    return read_outlines(outlines / "anna" / f"{slide}.geojson", tumor_classes=["Tumor"]).tumor


def ring(x: float, y: float, radius: float) -> list[tuple[float, float]]:
    return [(x + radius * np.cos(t), y + radius * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 17)]


SLIDES = {
    "CMU-1-Small-Region": ("slides/CMU-1-Small-Region.svs", (1250, 1700), 500),
    "TCGA-DB-5270-01Z-00-DX1": ("lgg_mini/slides", (1050, 900), 700),
}


@pytest.mark.real
@pytest.mark.parametrize("by", ["mouse", "pen"])
@pytest.mark.parametrize("slide", SLIDES)
def test_what_is_drawn_survives_a_kill_and_gives_the_patches_shown(
    chromium: Any, serve: Callable[..., Server], shared_data: Path, tmp_path: Path, slide: str, by: str
) -> None:
    from histosynth.cli.patches import command
    from histosynth.store.store import Store

    path, (x, y), radius = SLIDES[slide]
    outlines, slides = tmp_path / "outlines", shared_data / path
    server = serve(slides)
    page = Drawing(chromium, server, slide=slide, **(TABLET if by == "pen" else {}))
    draw = page.pen if by == "pen" else page.drag
    # A freehand area with a hole.
    page.press("p")
    draw(ring(x, y, radius))
    page.saved()
    whole = tumor(outlines, slide)
    assert whole.area == pytest.approx(np.pi * radius**2, rel=0.05)
    page.press("e")
    draw([(x - 60, y), (x + 60, y)])
    expect(page.page.locator("#history li")).to_have_count(2)
    with_hole = tumor(outlines, slide)
    assert len(with_hole.geoms[0].interiors) == 1
    # Undo and redo.
    page.press("Control+z")
    expect(page.page.locator("#history li")).to_have_count(3)
    assert tumor(outlines, slide).equals(whole)
    page.press("Control+y")
    expect(page.page.locator("#history li")).to_have_count(4)
    assert tumor(outlines, slide).equals(with_hole)
    # Another class, and back.
    page.press("v")
    page.click([(x - 0.7 * radius, y)])
    page.press("2")
    expect(page.page.locator("#selection-facts")).to_contain_text("Necrosis")
    assert set(outlined_classes(outlines / "anna" / f"{slide}.geojson")) == {"Necrosis"}
    page.press("1")
    expect(page.page.locator("#selection-facts")).to_contain_text("Tumor")
    page.press("g")
    accepted = page.page.locator("#patches tr.accepted td:last-child")
    expect(accepted).to_have_text(re.compile(r"\d+"))
    shown = int(accepted.inner_text())
    assert shown > 0

    server.kill()
    server.start()
    page.open()
    expect(page.page.locator("#history li")).to_have_count(6)
    assert tumor(outlines, slide).equals(with_hole)
    # The page now asks the new server.
    page.press("g")
    page.press("g")
    reply = page.page.request.get(f"{server.link.partition('/open')[0]}/api/slides/{slide}/preview").json()
    assert reply["counts"]["accepted"] == shown
    labels = tmp_path / "labels.csv"
    labels.write_text(f"slide,patient,label\n{slide},p,IDHwt\n")
    words = [str(slides), "--outlines", str(outlines / "anna"), "--labels", str(labels)]
    words += ["--exclude-class", "Necrosis", "--exclude-class", "Exclude", "--out", str(tmp_path / "store"), "--quiet"]
    CliRunner().invoke(command, words, catch_exceptions=False)
    store = Store(tmp_path / "store")
    extent = store.column("extent")[0]
    corners = np.stack([store.column("x"), store.column("y")], axis=1)
    inside = shapely.intersection(shapely.box(*corners.T, *(corners + extent).T), with_hole)
    assert (shapely.area(inside) >= 0.9 * extent**2 - 1e-6).all()  # patches.min_tumor
    preview = np.frombuffer(base64.b64decode(reply["accepted"]), "<i4").reshape(-1, 2) / 4
    assert np.array_equal(preview, corners)
    assert page.errors == []


def test_strokes_wait_for_a_server_that_died(
    chromium: Any, serve: Callable[..., Server], slides: Path, tmp_path: Path
) -> None:
    server = serve(slides, "--mpp", "0.5")
    page = Drawing(chromium, server, slide="a")
    page.press("r")
    page.drag([(300, 300), (500, 500)])
    page.saved()
    server.kill()
    page.drag([(700, 700), (900, 900)])
    page.drag([(100, 700), (300, 900)])
    expect(page.page.locator("#saved")).to_contain_text("2 strokes not saved")
    server.start()
    page.saved()
    assert len(tumor(tmp_path / "outlines", "a").geoms) == 3
    # Also when the page is loaded again before the server is back.
    server.kill()
    page.drag([(700, 300), (900, 500)])
    expect(page.page.locator("#saved")).to_contain_text("1 stroke not saved")
    page.page.on("dialog", lambda dialog: dialog.accept())
    server.start()
    page.page.close(run_before_unload=False)
    page.page = page.context.new_page()
    page.press = page.page.keyboard.press
    page.open()
    page.saved()
    assert len(tumor(tmp_path / "outlines", "a").geoms) == 4


def test_a_changed_file_asks_and_is_taken_or_put_aside(
    chromium: Any, serve: Callable[..., Server], slides: Path, tmp_path: Path
) -> None:
    page = Drawing(chromium, serve(slides, "--mpp", "0.5"), slide="a")
    page.press("r")
    page.drag([(300, 300), (500, 500)])
    page.saved()
    file = tmp_path / "outlines" / "anna" / "a.geojson"
    content = json.loads(file.read_text())
    content["features"][0]["properties"]["classification"]["name"] = "Stroma"
    file.write_text(json.dumps(content))
    page.drag([(700, 700), (900, 900)])
    dialog = page.page.get_by_role("dialog")
    expect(dialog).to_contain_text("a.geojson was changed by another program")
    assert "Stroma" in file.read_text()
    dialog.get_by_role("button", name="Take the file").click()
    page.saved()
    assert set(outlined_classes(file)) == {"Stroma", "Tumor"}  # the stroke that waited came after


def test_the_page_is_accessible_and_works_by_keyboard_alone(
    chromium: Any, serve: Callable[..., Server], slides: Path, tmp_path: Path
) -> None:
    page = Drawing(chromium, serve(slides, "--mpp", "0.5"), slide="a", bypass_csp=True)
    # A polygon by the keyboard: a press at the center of the view, which moves.
    page.press("+")
    page.page.wait_for_timeout(500)
    page.press("p")
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", None):
        page.press(".")
        if key:
            page.press(key)
            page.page.wait_for_timeout(500)  # the view moves smoothly
    page.press("Enter")
    page.saved()
    assert tumor(tmp_path / "outlines", "a").area > 100
    page.press("j")
    page.press("c")
    page.page.keyboard.type("v 1 p")  # a comment, no shortcuts
    page.press("Tab")
    expect(page.page.locator("#history li")).to_have_count(2)
    page.press("d")
    expect(page.page.get_by_role("button", name="Done", exact=True)).to_be_visible()
    expect(page.page.locator("#slide-list .state").first).to_contain_text("done")
    expect(page.page.locator("#slide-list .state.unreadable")).to_contain_text("broken.png")
    page.page.evaluate(AXE.read_text("utf-8"))
    for opened in (None, "?"):
        if opened:
            page.press(opened)
            expect(page.page.get_by_role("dialog")).to_be_visible()
        violations = page.page.evaluate(
            "axe.run().then(result => result.violations.map(({id, nodes}) => [id, nodes[0].html]))"
        )
        assert violations == []
    assert page.errors == []


def test_two_fingers_zoom_and_one_pans(
    chromium: Any, serve: Callable[..., Server], slides: Path, tmp_path: Path
) -> None:
    page = Drawing(chromium, serve(slides, "--mpp", "0.5"), slide="a", **TABLET)
    session = page.context.new_cdp_session(page.page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        touches = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    before = page.on_screen(600, 600)
    touch("touchStart", (400, 400))
    for step in range(1, 9):
        touch("touchMove", (400 + 10 * step, 400))
        time.sleep(0.02)
    time.sleep(0.2)
    touch("touchEnd")
    moved = page.on_screen(600, 600)
    assert moved[0] - before[0] == pytest.approx(80, abs=25)
    scale = page.on_screen(700, 600)[0] - page.on_screen(600, 600)[0]
    touch("touchStart", (400, 400), (500, 400))
    for step in range(1, 6):
        touch("touchMove", (400 - 10 * step, 400), (500 + 10 * step, 400))
        time.sleep(0.02)
    touch("touchEnd")
    page.page.wait_for_timeout(300)
    assert (page.on_screen(700, 600)[0] - page.on_screen(600, 600)[0]) / scale == pytest.approx(2, rel=0.2)
    assert not list((tmp_path / "outlines" / "anna").glob("*.jsonl"))  # nothing was drawn
