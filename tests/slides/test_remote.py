"""Slides behind a server on this machine's own loopback."""

import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from histosynth.cli import main
from histosynth.errors import HistosynthError
from histosynth.slides.phantom.files import write_pyramid
from histosynth.slides.reader import Box, find_slides, open_slide, slide_id_of
from histosynth.slides.remote import file_name, url_of
from histosynth.slides.tiff import TiffReader

needs_http = pytest.mark.usefixtures("_http")


@pytest.fixture
def _http() -> None:
    pytest.importorskip("aiohttp", reason="the extra `remote` is not installed")


class Ranges(SimpleHTTPRequestHandler):
    """Serves parts of files, as object stores do, and remembers how much."""

    served = 0
    serves_parts = True

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
        self.send_error(405)

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


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(60, 200, (1024, 1024, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("address", "name", "slide_id"),
    [
        ("https://host.org:8080/a/TCGA-DB-5270.1.svs", "TCGA-DB-5270.1.svs", "TCGA-DB-5270.1"),
        ("https://host.org/a.ome.tif?sign=b/c.svs&x=1", "a.ome.tif", "a"),
        ("s3://bucket/key/b.tiff", "b.tiff", "b"),
    ],
)
def test_an_address_survives_as_a_path(address: str, name: str, slide_id: str) -> None:
    assert url_of(Path(address)) == address
    assert (file_name(Path(address)), slide_id_of(Path(address))) == (name, slide_id)
    assert find_slides([Path(address), Path(address)]) == [Path(address)]


@pytest.mark.parametrize("path", ["a.svs", "/data/https/a.svs", "C:/slides/a.svs", "data/s3:/a.svs"])
def test_a_path_is_no_address(path: str) -> None:
    assert url_of(Path(path)) is None


@needs_http
def test_a_remote_slide_reads_as_the_file_and_fetches_what_it_shows(
    tmp_path: Path, picture: np.ndarray, serve: Callable[..., tuple[str, type[Ranges]]]
) -> None:
    write_pyramid(tmp_path / "a.tif", picture, mpp=0.25)
    address, handler = serve()
    with open_slide(Path(f"{address}/a.tif?signature=x")) as far, open_slide(tmp_path / "a.tif") as near:
        assert isinstance(far, TiffReader)
        assert (far.slide_id, far.mpp, far.levels) == ("a", near.mpp, near.levels)
        for x, y in [(0, 0), (300, 500), (900, 900)]:
            box = Box(x=x, y=y, width=200, height=200)
            np.testing.assert_array_equal(far.read(box), near.read(box))
        np.testing.assert_array_equal(far.thumbnail(64), near.thumbnail(64))
    assert handler.served > 0


@needs_http
def test_patches_of_a_remote_slide_are_those_of_the_file(
    tmp_path: Path,
    picture: np.ndarray,
    serve: Callable[..., tuple[str, type[Ranges]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_pyramid(tmp_path / "a.tif", picture, mpp=0.25)
    address, _ = serve()
    for name, slide in [("near", tmp_path / "a.tif"), ("far", f"{address}/a.tif")]:
        command = ["histosynth", "patches", str(slide), "--out", str(tmp_path / name), "--workers", "1", "--quiet"]
        changes = [
            "--set",
            "patches.region_px=256",
            "--set",
            "patches.patch_px=64",
            "--set",
            "patches.min_tissue=0",
            "--set",
            "patches.quality=false",
        ]
        monkeypatch.setattr("sys.argv", [*command, *changes])
        main()
    names = sorted(file.name for file in (tmp_path / "near").iterdir())
    assert names == ["manifest.json", "part-a.parquet"]
    for name in names:
        assert (tmp_path / "near" / name).read_bytes() == (tmp_path / "far" / name).read_bytes()


@needs_http
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "gone.svs",
            {},
            r"slide http://127\.0\.0\.1:\d+/gone\.svs cannot be reached \(FileNotFoundError.*copy the file",
        ),
        ("a.tif", {"serves_parts": False}, "does not serve parts of a file; copy the file here"),
        ("text.svs", {}, "only tiled TIFF is read from afar; copy the file here"),
    ],
)
def test_what_cannot_be_had_is_one_line(
    tmp_path: Path,
    picture: np.ndarray,
    serve: Callable[..., tuple[str, type[Ranges]]],
    name: str,
    options: dict[str, object],
    message: str,
) -> None:
    write_pyramid(tmp_path / "a.tif", picture[:512, :512], mpp=0.25)
    (tmp_path / "text.svs").write_text("slide_id,label\n" * 100)
    address, _ = serve(**options)
    with pytest.raises(HistosynthError, match=message) as caught:
        open_slide(Path(f"{address}/{name}"))
    assert "\n" not in str(caught.value)


@needs_http
def test_a_server_that_is_not_there_is_one_line() -> None:
    with pytest.raises(HistosynthError, match=r"slide http://127\.0\.0\.1:9/a\.svs cannot be reached"):
        open_slide(Path("http://127.0.0.1:9/a.svs"))


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(HistosynthError, match=r"fsspec is missing; pip install 'histosynth\[remote\]'"):
        open_slide(Path("https://127.0.0.1/a.svs"))
