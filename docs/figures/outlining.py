"""Take the screenshots of docs/tutorials/outlining.md: its phantom slides, outlined in Chromium; then its `patches`.

Needs Chromium and the built page (`make page`). Takes a minute.

.venv/bin/python docs/figures/outlining.py
"""

import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
TUTORIAL = HERE.parent / "tutorials" / "outlining.md"
DESKTOP = {"viewport": {"width": 1440, "height": 900}}
TABLET = {"viewport": {"width": 1024, "height": 768}, "has_touch": True}
Points = Sequence[tuple[float, float]]


def main() -> None:
    """Run the tutorial's commands, and draw while the page is served."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", TUTORIAL.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    draw, serve, patches = (text.strip() for _, text in blocks)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        subprocess.run(["bash", "-euc", draw.replace("python", sys.executable)], cwd=work, check=True)
        command = [sys.executable, "-m", *serve.partition("\n")[0].split(), "--port", "0"]
        with subprocess.Popen(command, cwd=work, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                link = re.search(r"http://\S+", server.stdout.readline())
                assert link is not None
                take_screenshots(link[0])
            finally:
                server.terminate()
        command = [sys.executable, "-m", *patches.replace("\\\n", " ").split()]
        print(subprocess.run(command, cwd=work, check=True, stdout=subprocess.PIPE, text=True).stdout)


def take_screenshots(link: str) -> None:
    """Outline the tumor of the first slide, on a desktop, and look at it on a tablet."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = chromium.new_page(**DESKTOP)
        open_page(page, link)
        press = page.keyboard.press
        press("p")
        drag(page, blob(1020, 980, 620))
        press("e")
        drag(page, [(760, 820), (850, 900)])
        press("2")
        press("b")
        drag(page, [(1150, 1250), (1230, 1310), (1330, 1300)])
        press("1")
        press("v")
        click(page, 700, 1200)
        page.get_by_label("Comment").fill("Border to the cortex is uncertain.")
        press("Tab")
        press("g")
        page.locator("#patches tr.accepted").wait_for()
        page.mouse.move(5, 5)
        page.wait_for_timeout(1500)
        save_screenshot(page, "outlining")
        tablet = chromium.new_page(**TABLET)
        open_page(tablet, link)
        tablet.keyboard.press("j")
        tablet.wait_for_timeout(800)
        tablet.keyboard.press("+")
        tablet.keyboard.press("n")
        tablet.wait_for_timeout(800)
        save_screenshot(tablet, "outlining_tablet")
        chromium.close()


def open_page(page: Page, link: str) -> None:
    """Open the link, and wait for the slide."""
    page.goto(link)
    page.wait_for_selector("#overlay[data-transform]")
    page.wait_for_timeout(1500)


def blob(x: float, y: float, radius: float) -> Points:
    """Return an outline as a hand draws it."""
    angle = np.linspace(0, 2 * np.pi, 60)
    wave = radius * (1 + 0.08 * np.cos(3 * angle + 1) + 0.04 * np.cos(7 * angle))
    return list(zip(x + wave * np.cos(angle), y + wave * np.sin(angle), strict=True))


def drag(page: Page, points: Points) -> None:
    """Press at the first point, and move through the others, in pixels of the slide."""
    page.mouse.move(*on_screen(page, *points[0]))
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*on_screen(page, *point), steps=3)
    page.mouse.up()
    page.get_by_text("anna: saved").wait_for()


def click(page: Page, x: float, y: float) -> None:
    """Click a pixel of the slide."""
    page.mouse.click(*on_screen(page, x, y))


def on_screen(page: Page, x: float, y: float) -> tuple[float, float]:
    """Return where a pixel of the slide is on the screen."""
    overlay = page.locator("#overlay")
    box, transform = overlay.bounding_box(), overlay.get_attribute("data-transform")
    assert box is not None
    assert transform is not None
    a, b, c, d, e, f = map(float, transform.split())
    return box["x"] + a * x + c * y + e, box["y"] + b * x + d * y + f


def save_screenshot(page: Page, name: str) -> None:
    """Save the page as a PNG of few colors, which is small."""
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    image.quantize(224, dither=Image.Dither.NONE).save(HERE / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
