"""Take the screenshots of docs/tutorials/reader-study.md: its study of phantom tissue, read in Chromium.

Takes a minute.

.venv/bin/python docs/figures/reader_study.py
"""

import io
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
TUTORIAL = HERE.parent / "tutorials" / "reader-study.md"
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
TABLET = {"viewport": {"width": 820, "height": 1180}, "has_touch": True, "is_mobile": True}


def main() -> None:
    """Run the tutorial until the page is served, then read a few cases."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        printed = make_study(work)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        serve = [sys.executable, "-m", "histosynth", "study", "serve", "study", "--port", str(port)]
        with subprocess.Popen(serve, cwd=work, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                printed += server.stdout.readline()
                links = [link.replace(":8000", f":{port}") for link in re.findall(r"http://127\S+", printed)]
                wait_for(port)
                take_screenshots(first=links[0], second=links[2], organizer=links[3])  # links[2] replaced links[1]
            finally:
                server.terminate()


def make_study(work: Path) -> str:
    """Run the tutorial's commands up to `study links`, and return their output."""
    bin_ = work / "bin"
    bin_.mkdir()
    for name, command in (("python", ""), ("histosynth", " -m histosynth")):
        script = bin_ / name
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{command} "$@"\n')
        script.chmod(0o755)
    environment = {**os.environ, "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}"}
    printed = ""
    for language, text in re.findall(r"^```(bash|console|python)\n(.*?)^```", TUTORIAL.read_text("utf-8"), re.M | re.S):
        command = text.partition("\n")[0].removeprefix("$ ") if language == "console" else text
        words = [sys.executable, "-c", command] if language == "python" else ["bash", "-euc", command]
        printed += subprocess.run(
            words, cwd=work, env=environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        if "study links" in command:
            break
    return printed


def wait_for(port: int) -> None:
    """Wait until the server listens."""
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)


def take_screenshots(*, first: str, second: str, organizer: str) -> None:
    """Read as two readers, and save screenshots of their pages."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        desktop = chromium.new_context(**DESKTOP).new_page()
        begin(desktop, first)
        for _ in range(6):
            answer(desktop)
        wait_for_case(desktop)
        desktop.keyboard.press("r")
        desktop.keyboard.press("4")
        save_screenshot(desktop, "case")
        desktop.context.set_offline(True)
        desktop.keyboard.press("Enter")
        desktop.locator(".problem").wait_for()
        save_screenshot(desktop, "offline")
        tablet = chromium.new_context(**TABLET).new_page()
        begin(tablet, second)
        for _ in range(4):
            answer(tablet)
        wait_for_case(tablet)
        tablet.locator("[value=synthetic]").check()
        save_screenshot(tablet, "tablet")
        desktop.context.set_offline(False)
        desktop.locator(".problem").wait_for(state="detached")  # saved: the page no longer objects to leaving it
        desktop.goto(organizer)
        save_screenshot(desktop, "organizer")
        chromium.close()


def begin(page: Page, link: str) -> None:
    """Go from the link to the first case."""
    page.goto(link)
    page.locator("[name=consent]").check()
    page.get_by_role("button", name="Begin").click()
    page.locator(".actions a").click()


def wait_for_case(page: Page) -> None:
    """Wait until the case is shown."""
    page.locator("#answer").wait_for()
    page.locator(".frame.live").wait_for()


def answer(page: Page) -> None:
    """Answer one case and continue."""
    wait_for_case(page)
    number = page.locator("#heading").inner_text()
    page.locator("[value=real]").check()
    page.locator("[name=confidence][value='3']").check()
    page.locator(".next").click()
    page.locator("#heading, #continue", has_not_text=number).first.wait_for()
    if page.locator("#continue").count():
        page.locator("#continue").click()


def save_screenshot(page: Page, name: str) -> None:
    """Save a screenshot of the page."""
    path = HERE / f"reader_study_{name}.png"
    Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB").save(path, optimize=True)
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
