"""Fixtures that the tests share."""

import os
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# One thread a test process: on small matrices more of them only wait for each other. Before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import matplotlib
import pytest
from hypothesis import settings

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

# The same examples in every run: a red test means a change, never luck. `--hypothesis-profile=default` searches anew.
settings.register_profile("histosynth", deadline=None, derandomize=True)
settings.load_profile("histosynth")


@pytest.fixture(scope="session", autouse=True)
def caches_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither features nor weights that lie in the user's cache decide a test, and none is left there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())  # whose fonts take seconds to list
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("TORCH_HOME", raising=False)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real slides and regions beside the repository; the test skips where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data at {SHARED_DATA}")
    return SHARED_DATA


class Ranges(SimpleHTTPRequestHandler):
    """Serves parts of files, as object stores do, and remembers how much."""

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
    """Serve `tmp_path`; gives the address and the handler."""
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
