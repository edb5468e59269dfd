"""Fixtures that the tests share: caches, a server of files, and small cohorts drawn in a moment.

A cohort is PNG regions of violet tissue on glass, an outline each, and a table of labels.
"""

import csv
import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# One thread per test process: on small matrices, more threads only wait for each other. Set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import matplotlib
import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

import limits
from histosynth.config import PatchSettings

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

# The same examples in every run: a failing test means a change, never chance. `--hypothesis-profile=default` explores.
settings.register_profile("histosynth", deadline=None, derandomize=True)
settings.load_profile("histosynth")


def pytest_configure(config: pytest.Config) -> None:
    """Report hangs on the standard error of pytest itself."""
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        limits.hang_report = os.dup(2)


@pytest.fixture(scope="session", autouse=True)
def private_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep features and weights in a temporary cache, apart from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())  # whose fonts take seconds to list
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("TORCH_HOME", raising=False)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real slides and regions beside the repository; skip the test where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data at {SHARED_DATA}")
    return SHARED_DATA


class Ranges(SimpleHTTPRequestHandler):
    """Serve byte ranges of files, as object stores do, and count the bytes."""

    served = 0
    serves_parts = True
    serves_heads = False

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path.partition("?")[0]))
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        asked = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")) if self.serves_parts else None
        part = content[int(asked[1]) : int(asked[2] or len(content) - 1) + 1] if asked else content
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {asked[1]}-{int(asked[1]) + len(part) - 1}/{len(content)}")
        if self.serves_parts:
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)
        type(self).served += len(part)

    def do_HEAD(self) -> None:
        path = Path(self.translate_path(self.path.partition("?")[0]))
        if not self.serves_heads:
            self.send_error(405)
            return
        self.send_response(200 if path.is_file() else 404)
        self.send_header("Content-Length", str(path.stat().st_size if path.is_file() else 0))
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., tuple[str, type[Ranges]]]]:
    """Return a function that serves `tmp_path` and returns the address and the handler."""
    servers = []

    def start(**options: object) -> tuple[str, type[Ranges]]:
        handler = type("Handler", (Ranges,), {"served": 0, **options})
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(tmp_path)))
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}", handler

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


MPP = 0.5


Ring = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Cohort:
    """Files of a cohort, and ways to change them."""

    root: Path
    mpp: float = MPP

    @property
    def slides(self) -> Path:
        return self.root / "slides"

    @property
    def outlines(self) -> Path:
        return self.root / "outlines"

    @property
    def labels(self) -> Path:
        return self.root / "labels.csv"

    @property
    def inputs(self) -> dict[str, Any]:
        """What `extract` takes beside settings and `out`."""
        return {"slides": [self.slides], "outlines": self.outlines, "labels": self.labels, "mpp": self.mpp}

    def outline(self, slide_id: str, *rings: Ring, name: str = "Tumor") -> Path:
        """Write what QuPath exports for these polygons."""
        features = [
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
                "properties": {"objectType": "annotation", "classification": {"name": name}},
            }
            for ring in rings
        ]
        path = self.outlines / f"{slide_id}.geojson"
        path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        return path

    def add(self, slide_id: str, image: np.ndarray) -> Path:
        """Add a slide with an outline around its tissue."""
        path = self.slides / f"{slide_id}.png"
        Image.fromarray(image).save(path, compress_level=1)
        self.outline(slide_id, square(20, len(image) - 20))
        return path


def tissue(side: int, *, seed: int, glass: int = 32) -> np.ndarray:
    """Eosin ground with hematoxylin nuclei, repeated, and a margin of glass: (side, side, 3)."""
    rng = np.random.default_rng(seed)
    nuclei = rng.random((32, 32)).repeat(4, 0).repeat(4, 1) < 0.3
    hematoxylin = np.where(nuclei, 1.4, 0.2) + rng.normal(0, 0.05, nuclei.shape)
    eosin = np.where(nuclei, 0.4, 0.9) + rng.normal(0, 0.05, nuclei.shape)
    image = 240 * np.exp(-np.stack([hematoxylin, eosin], axis=2) @ [[0.56, 0.72, 0.41], [0.22, 0.80, 0.56]])
    image = np.tile(image.clip(0, 255).astype(np.uint8), (-(-side // 128), -(-side // 128), 1))[:side, :side]
    image[:glass], image[-glass:], image[:, :glass], image[:, -glass:] = 245, 245, 245, 245
    return image


def square(low: float, high: float) -> Ring:
    return [[low, low], [high, low], [high, high], [low, high]]


@pytest.fixture
def draw_cohort(tmp_path: Path) -> Callable[..., Cohort]:
    """Make a cohort of `count` slides of two genotypes in turn, of `side` pixels."""

    def make(count: int, *, side: int = 256, name: str = "cohort") -> Cohort:
        cohort = Cohort(tmp_path / name)
        cohort.slides.mkdir(parents=True)
        cohort.outlines.mkdir()
        for n in range(count):
            cohort.add(f"S{n}", tissue(side, seed=n))
        with cohort.labels.open("w", newline="") as file:
            rows = [(f"S{n}", f"P{n}", ("codel", "wt")[n % 2]) for n in range(count)]
            csv.writer(file).writerows([("slide_id", "patient_id", "label"), *rows])
        return cohort

    return make


@pytest.fixture
def small() -> PatchSettings:
    """Regions of 32 px at `MPP`, patches of 16 px."""
    return PatchSettings(region_px=32, region_mpp=MPP, patch_px=16, cap=12)


@pytest.fixture(scope="session")
def content() -> Callable[[Path], dict[str, bytes]]:
    """Reads every byte of a directory, hidden files included."""
    return lambda directory: {entry.name: entry.read_bytes() for entry in sorted(directory.iterdir())}
