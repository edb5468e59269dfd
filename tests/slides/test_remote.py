"""Slides on an HTTP server, on the loopback interface of this machine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from histosynth.cli import main
from histosynth.errors import HistosynthError
from histosynth.remote import file_name, url_of
from histosynth.slides.files import find_slides, slide_id_of
from histosynth.slides.open import open_slide
from histosynth.slides.phantom.files import write_pyramid
from histosynth.slides.tiff import TiffReader
from histosynth.slides.types import Box

Serve = Callable[..., tuple[str, Any]]
needs_http = pytest.mark.usefixtures("_http")


@pytest.fixture
def _http() -> None:
    pytest.importorskip("aiohttp", reason="the extra `remote` is not installed")


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
def test_url_is_preserved_as_a_path(address: str, name: str, slide_id: str) -> None:
    assert url_of(Path(address)) == address
    assert (file_name(Path(address)), slide_id_of(Path(address))) == (name, slide_id)
    assert find_slides([Path(address), Path(address)]) == [Path(address)]


@pytest.mark.parametrize("path", ["a.svs", "/data/https/a.svs", "C:/slides/a.svs", "data/s3:/a.svs"])
def test_local_path_is_not_a_url(path: str) -> None:
    assert url_of(Path(path)) is None


@needs_http
def test_remote_slide_agrees_with_the_local_file(tmp_path: Path, picture: np.ndarray, serve: Serve) -> None:
    write_pyramid(tmp_path / "a.tif", picture, mpp=0.25)
    address, handler = serve()
    with open_slide(Path(f"{address}/a.tif?signature=x")) as remote, open_slide(tmp_path / "a.tif") as local:
        assert isinstance(remote, TiffReader)
        assert (remote.slide_id, remote.mpp, remote.levels) == ("a", local.mpp, local.levels)
        for x, y in [(0, 0), (300, 500), (900, 900)]:
            box = Box(x=x, y=y, width=200, height=200)
            np.testing.assert_array_equal(remote.read(box), local.read(box))
        np.testing.assert_array_equal(remote.thumbnail(64), local.thumbnail(64))
    assert handler.served > 0


@needs_http
def test_patches_of_a_remote_slide_equal_those_of_the_local_file(
    tmp_path: Path,
    picture: np.ndarray,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_pyramid(tmp_path / "a.tif", picture, mpp=0.25)
    address, _ = serve()
    for name, slide in [("local", tmp_path / "a.tif"), ("remote", f"{address}/a.tif")]:
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
    names = sorted(file.name for file in (tmp_path / "local").iterdir())
    assert names == ["manifest.json", "part-a.parquet"]
    for name in names:
        assert (tmp_path / "local" / name).read_bytes() == (tmp_path / "remote" / name).read_bytes()


@needs_http
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "absent.svs",
            {},
            r"slide http://127\.0\.0\.1:\d+/absent\.svs cannot be reached \(FileNotFoundError.*download the file",
        ),
        ("a.tif", {"serves_parts": False}, "does not serve parts of a file; download the file"),
        ("text.svs", {}, "only tiled TIFF is read from remote storage; download the file"),
    ],
)
def test_inaccessible_file_gives_a_one_line_error(
    tmp_path: Path,
    picture: np.ndarray,
    serve: Serve,
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
def test_missing_server_gives_a_one_line_error() -> None:
    with pytest.raises(HistosynthError, match=r"slide http://127\.0\.0\.1:9/a\.svs cannot be reached"):
        open_slide(Path("http://127.0.0.1:9/a.svs"))


def test_error_names_the_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(HistosynthError, match=r"fsspec is missing; pip install 'histosynth\[remote\]'"):
        open_slide(Path("https://127.0.0.1/a.svs"))
