"""The outlining tool on a slide of 100,000 px per side: tiles beside OpenSlide's Deep Zoom server, memory, strokes.

Tiles: eight viewers pan on the same slide at the same time, each with up to six requests at once, as a browser. Each
server gets the same views in the same order: first cold (just started), then warm (the same views again). The peer is
`examples/deepzoom/deepzoom_server.py` of openslide-python, run as it is. Latencies are those of whole tiles.

Memory: resident memory of our server with 200 slides in the list, all of which have been opened and shown.

Strokes, in Chromium: brush strokes across the boundary of an outline of 100,000 vertices, from the release of the
button to the repainted outline after the server has saved it; the time to open the slide until its view is complete;
and long tasks (over 50 ms) of the page while it pans.

    .venv/bin/python benchmarks/annotate.py [--size 100000] [--repeats 3] [--peer deepzoom_server.py] [--quick]

Without `--peer`, pip fetches the source distribution of openslide-python. Needs the extras `annotate` and `bench`,
Chromium and the built page (`make page`) for the strokes. Takes ten minutes on two otherwise idle cores. The last line
is JSON: `ratio` is the peer's 95th percentile of the latency of warm tiles divided by ours, the median of the repeats.
"""

import argparse
import asyncio
import json
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from histosynth.annotate.tiles import TILE_PX, DeepZoom, encode_image

VIEWERS, CONNECTIONS = 8, 6
VIEW_PX = (1400, 900)
TIFF_TILE_PX = 512
MPP = 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=100_000, help="side of the slide in pixels")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pans", type=int, default=25, help="of each viewer")
    parser.add_argument("--slides", type=int, default=200, help="in the list, for the memory")
    parser.add_argument("--vertices", type=int, default=100_000, help="of the outline")
    parser.add_argument("--strokes", type=int, default=40)
    parser.add_argument("--peer", type=Path, help="path of deepzoom_server.py")
    parser.add_argument("--quick", action="store_true", help="under a minute: shows that it runs, nothing else")
    options = parser.parse_args()
    if options.quick:
        options.size, options.repeats, options.pans = 8_000, 1, 2
        options.slides, options.vertices, options.strokes = 4, 2_000, 3
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "slides").mkdir()
        slide = write_slide(work / "slides" / "large.tif", options.size)
        print(f"slide of {options.size:,} px per side, {slide.stat().st_size / 1e9:.2f} GB")
        result: dict[str, Any] = {"name": "annotate"}
        result |= measure_tiles(slide, work, options)
        result |= measure_memory(slide, work, options)
        result |= measure_strokes(slide, work, options)
    print(json.dumps(result))


# The slide


def write_slide(path: Path, size: int) -> Path:
    """Write a pyramidal TIFF of phantom tissue: a few tiles, dealt at random, since servers do not look at them."""
    rng = np.random.default_rng(0)
    tiles = [encode_image(tissue(rng), "jpg") for _ in range(24)]
    side, first = size, True
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        while True:
            across = -(-side // TIFF_TILE_PX)
            dealt = (tiles[k] for k in rng.integers(0, len(tiles), across * across))
            tiff.write(
                dealt, shape=(side, side, 3), dtype=np.uint8, tile=(TIFF_TILE_PX, TIFF_TILE_PX), photometric="ycbcr",
                subsampling=(2, 2), compression="jpeg", subfiletype=0 if first else 1, resolutionunit="CENTIMETER",
                resolution=(1e4 / (MPP * size / side),) * 2, metadata=None,
            )  # fmt: skip
            if side <= TIFF_TILE_PX:
                return path
            side, first = -(-side // 4), False


def tissue(rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return a tile of violet tissue with nuclei."""
    image = np.full((TIFF_TILE_PX, TIFF_TILE_PX, 3), (212, 160, 205), float)
    image += rng.normal(0, 9, image.shape)
    y, x = np.mgrid[:TIFF_TILE_PX, :TIFF_TILE_PX]
    for cx, cy, radius in zip(*rng.uniform(0, TIFF_TILE_PX, (2, 130)), rng.uniform(6, 14, 130), strict=True):
        image[(x - cx) ** 2 + (y - cy) ** 2 < radius**2] = (92, 60, 140)
    smooth = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    return np.asarray(smooth.reduce(2).resize(smooth.size))


# Servers


@dataclass
class Server:
    """A server in a process of its own; `tile` is the pattern of a tile's address."""

    process: subprocess.Popen[str]
    port: int
    tile: str
    cookie: str = ""

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait()

    def resident_mb(self) -> float:
        """Return its resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+)", status)
        return int(match[1]) / 1000 if match else float("nan")


def start_ours(slides: Path, outlines: Path) -> Server:
    command = [sys.executable, "-m", "histosynth", "annotate", str(slides), "--out", str(outlines), "--port", "0"]
    process = subprocess.Popen([*command, "--annotator", "anna"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    link = re.search(r"http://127\.0\.0\.1:(\d+)/open/\w+", line)
    if link is None:
        raise SystemExit(line or "the server did not start")
    request = urllib.request.build_opener(KeepRedirect()).open(link[0])
    cookie = request.headers["Set-Cookie"].partition(";")[0]
    return Server(process, int(link[1]), "/api/slides/large/tiles/{level}/{column}_{row}.jpg", cookie)


class KeepRedirect(urllib.request.HTTPRedirectHandler):
    """Return a redirection instead of following it."""

    def http_error_303(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        """Return the response, with its headers."""
        fp.headers = headers
        return fp


def start_peer(script: Path, slide: Path) -> Server:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [sys.executable, str(script), "--ignore-bounds", "--port", str(port), str(slide)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.1)
        else:
            return Server(process, port, "/slide_files/{level}/{column}_{row}.jpeg")
    raise SystemExit("the peer did not start")


def fetch_peer(work: Path) -> Path | None:
    """Return deepzoom_server.py of the source distribution; None where pip cannot fetch it."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-binary",
        ":all:",
        "openslide-python",
    ]
    done = subprocess.run([*command, "--dest", str(work)], capture_output=True, text=True, check=False)
    archives = list(work.glob("openslide*.tar.gz"))
    if done.returncode or not archives:
        print(f"no peer: {done.stderr.strip().splitlines()[-1:] or 'pip failed'}")
        return None
    with tarfile.open(archives[0]) as archive:
        archive.extractall(work, filter="data")
    return next(work.glob("openslide*/examples/deepzoom/deepzoom_server.py"))


# Tiles


def views(viewer: int, size: int, pans: int) -> Iterator[list[tuple[int, int, int]]]:
    """Yield the new tiles of each view of a viewer: level, column and row."""
    rng = np.random.default_rng(viewer)
    pyramid = DeepZoom(width_px=size, height_px=size)
    level = pyramid.max_level - int(rng.integers(0, 3))
    side = size >> (pyramid.max_level - level)
    x, y = rng.integers(0, max(1, side - max(VIEW_PX)), 2)
    seen: set[tuple[int, int, int]] = set()
    for _ in range(pans):
        columns = range(int(x) // TILE_PX, min(int(x) + VIEW_PX[0], side - 1) // TILE_PX + 1)
        rows = range(int(y) // TILE_PX, min(int(y) + VIEW_PX[1], side - 1) // TILE_PX + 1)
        wanted = {(level, column, row) for column in columns for row in rows}
        yield sorted(wanted - seen)
        seen |= wanted
        x, y = (max(0, min(side - 300, int(at + rng.integers(-600, 700)))) for at in (x, y))


async def pan(server: Server, options: argparse.Namespace) -> list[float]:
    """Let all viewers pan at once; return the latency of each tile in seconds."""
    latencies: list[float] = []

    async def look(viewer: int) -> None:
        for tiles in views(viewer, options.size, options.pans):
            waiting = iter(tiles)
            await asyncio.gather(*(fetch_all(waiting) for _ in range(CONNECTIONS)))

    async def fetch_all(waiting: Iterator[tuple[int, int, int]]) -> None:
        connection = Connection(server)
        for level, column, row in waiting:
            started = time.perf_counter()
            await connection.get(server.tile.format(level=level, column=column, row=row))
            latencies.append(time.perf_counter() - started)
        connection.close()

    await asyncio.gather(*(look(viewer) for viewer in range(VIEWERS)))
    return latencies


class Connection:
    """A client that costs little beside what it measures: one request after another, kept alive if the server does."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> bytes:
        """Return the body of a response with status 200."""
        if self.streams is None:
            self.streams = await asyncio.open_connection("127.0.0.1", self.server.port)
        reader, writer = self.streams
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {self.server.cookie}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        if " 200 " not in head.partition("\r\n")[0]:
            raise SystemExit(f"{path}: {head.partition(chr(13))[0]}")
        length = re.search(r"content-length: (\d+)", head)
        assert length is not None
        body = await reader.readexactly(int(length[1]))
        if "connection: close" in head or head.startswith("http/1.0"):
            self.close()
        return body

    def close(self) -> None:
        """Close the connection."""
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None


def measure_tiles(slide: Path, work: Path, options: argparse.Namespace) -> dict[str, Any]:
    script = options.peer or fetch_peer(work)
    measured: dict[str, list[float]] = {}
    count = 0
    for repeat in range(options.repeats):
        starts = {"ours": lambda n=repeat: start_ours(slide.parent, work / f"outlines-{n}")}
        if script is not None:
            starts["peer"] = lambda: start_peer(script, slide)
        for who in sorted(starts, reverse=bool(repeat % 2)):  # neither is always first
            server = starts[who]()
            try:
                for state in ("cold", "warm"):
                    latencies = asyncio.run(pan(server, options))
                    count = len(latencies)
                    measured.setdefault(f"{who} {state}", []).append(1000 * float(np.percentile(latencies, 95)))
            finally:
                server.stop()
    print(f"\n95th percentile of the latency of {count:,} tiles, {VIEWERS} viewers, ms (each repeat)")
    for name, values in measured.items():
        print(f"  {name:<10} {statistics.median(values):7.1f}   ({', '.join(f'{value:.1f}' for value in values)})")
    result: dict[str, Any] = {"unit": "times the peer's speed: p95 of a warm tile"}
    for state in ("warm", "cold"):
        if script is not None:
            ratios = [b / a for a, b in zip(measured[f"ours {state}"], measured[f"peer {state}"], strict=True)]
            key = "" if state == "warm" else "cold_"
            result |= {f"{key}ratio": round(statistics.median(ratios), 2)}
            result |= {f"{key}low": round(min(ratios), 2), f"{key}high": round(max(ratios), 2)}
        result[f"{state}_p95_ms"] = round(statistics.median(measured[f"ours {state}"]), 1)
    return result


# Memory


def measure_memory(slide: Path, work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Open and show every slide of a long list once."""
    folder = work / "many"
    folder.mkdir()
    for number in range(options.slides):
        (folder / f"slide-{number:03}.tif").hardlink_to(slide)
    server = start_ours(folder, work / "outlines-many")

    async def show_all() -> None:
        connection = Connection(server)
        for number in range(options.slides):
            await connection.get(f"/api/slides/slide-{number:03}/thumbnail")
            for level in (9, 10, 11, 12):
                await connection.get(f"/api/slides/slide-{number:03}/tiles/{level}/0_0.jpg")
        connection.close()

    try:
        before = server.resident_mb()
        asyncio.run(show_all())
        after = server.resident_mb()
    finally:
        server.stop()
    print(f"\nresident memory: {before:.0f} MB at the start, {after:.0f} MB after {options.slides} slides")
    return {"resident_mb": round(after)}


# Strokes


def measure_strokes(slide: Path, work: Path, options: argparse.Namespace) -> dict[str, Any]:
    chromium = shutil.which("chromium")
    if chromium is None:
        print("\nno chromium: strokes not measured")
        return {}
    from playwright.sync_api import sync_playwright

    outlines = work / "outlines-strokes"
    center, radius = options.size / 2, options.size / 4
    write_outline(outlines / "anna" / "large.geojson", center, radius, options.vertices)
    server = start_ours(slide.parent, outlines)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900}, bypass_csp=True)
        page.context.add_cookies(
            [{"name": "annotator", "value": server.cookie.partition("=")[2], "url": f"http://127.0.0.1:{server.port}"}]
        )
        page.add_init_script(
            "window.entries = []; new PerformanceObserver(list => window.entries.push("
            "...list.getEntries().map(e => [e.entryType, e.name, e.duration, e.startTime])))"
            ".observe({entryTypes: ['longtask', 'measure']})"
        )
        try:
            page.goto(f"http://127.0.0.1:{server.port}/#large")
            page.wait_for_function("entries.some(e => e[1] === 'open')", timeout=60_000)
            opened = page.evaluate("entries.find(e => e[1] === 'open')[2]")
            strokes = draw(page, center, radius, options)
            longest = pan_page(page)
        finally:
            browser.close()
            server.stop()
    p50, p95 = np.percentile(strokes, [50, 95])
    print(
        f"\nin Chromium: opened in {opened:.0f} ms; a stroke saved and redrawn in {p50:.0f} ms, 95 % in {p95:.0f} ms "
        f"({len(strokes)} strokes, {options.vertices:,} vertices); panning: {len(longest)} tasks over 50 ms, "
        f"the longest {max(longest, default=0):.0f} ms"
    )
    return {
        "open_ms": round(opened),
        "stroke_p50_ms": round(float(p50)),
        "stroke_p95_ms": round(float(p95)),
        "long_tasks_panning": len(longest),
        "longest_task_ms": round(max(longest, default=0)),
    }


def write_outline(path: Path, center: float, radius: float, vertices: int) -> None:
    """Write a wavy outline, as a traced one is."""
    angle = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    wave = sum(np.cos(k * angle + k) / k for k in (5, 23, 111)) + np.cos(2011 * angle) / 400
    points = center + radius * (1 + 0.05 * wave)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    ring = np.round(np.vstack([points, points[:1]]), 2).tolist()
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"classification": {"name": "Tumor"}},
    }
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([feature]))


def draw(page: Any, center: float, radius: float, options: argparse.Namespace) -> Sequence[float]:
    """Draw brush strokes across the boundary, all around; return the milliseconds of each."""
    rng = np.random.default_rng(0)
    box = page.locator("#overlay").bounding_box()
    for number in range(options.strokes):
        a, b, c, d, e, f = map(float, page.locator("#overlay").get_attribute("data-transform").split())
        angle = rng.uniform(0, 2 * np.pi)
        for step, share in enumerate((0.93, 1.0, 1.07)):
            x = center + share * radius * np.cos(angle + 0.02 * step)
            y = center + share * radius * np.sin(angle + 0.02 * step)
            page.mouse.move(box["x"] + a * x + c * y + e, box["y"] + b * x + d * y + f, steps=4)
            if step == 0:
                page.mouse.down()
        page.mouse.up()
        page.wait_for_function(f"entries.filter(e => e[1] === 'stroke').length > {number}", timeout=60_000)
    durations: list[float] = page.evaluate("entries.filter(e => e[1] === 'stroke').map(e => e[2])")
    return durations


def pan_page(page: Any) -> Sequence[float]:
    """Pan and zoom for some seconds; return the milliseconds of each long task."""
    started = page.evaluate("performance.now()")
    page.keyboard.press("h")
    page.mouse.move(700, 450)
    for _ in range(4):
        page.mouse.wheel(0, -400)
        page.wait_for_timeout(150)
        page.mouse.down()
        page.mouse.move(500, 350, steps=30)
        page.mouse.up()
        page.mouse.move(700, 450)
    page.wait_for_timeout(500)
    longest: list[float] = page.evaluate(f"entries.filter(e => e[0] === 'longtask' && e[3] > {started}).map(e => e[2])")
    return longest


if __name__ == "__main__":
    main()
