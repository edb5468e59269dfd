"""Slides behind a server on this machine's own loopback."""

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
def test_an_address_survives_as_a_path(address: str, name: str, slide_id: str) -> None:
    assert url_of(Path(address)) == address
    assert (file_name(Path(address)), slide_id_of(Path(address))) == (name, slide_id)
    assert find_slides([Path(address), Path(address)]) == [Path(address)]


@pytest.mark.parametrize("path", ["a.svs", "/data/https/a.svs", "C:/slides/a.svs", "data/s3:/a.svs"])
def test_a_path_is_no_address(path: str) -> None:
    assert url_of(Path(path)) is None


@needs_http
def test_a_remote_slide_reads_as_the_file_and_fetches_what_it_shows(
    tmp_path: Path, picture: np.ndarray, serve: Serve
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
    serve: Serve,
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
def test_a_server_that_is_not_there_is_one_line() -> None:
    with pytest.raises(HistosynthError, match=r"slide http://127\.0\.0\.1:9/a\.svs cannot be reached"):
        open_slide(Path("http://127.0.0.1:9/a.svs"))


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(HistosynthError, match=r"fsspec is missing; pip install 'histosynth\[remote\]'"):
        open_slide(Path("https://127.0.0.1/a.svs"))
