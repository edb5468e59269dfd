"""A store behind an address reads as the directory does; what cannot be had is one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from histosynth.errors import HistosynthError
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.store import Store, write_manifest
from histosynth.training.data.dataset import PatchDataset

Serve = Callable[..., tuple[str, Any]]


@pytest.fixture
def near(tmp_path: Path) -> Path:
    """Two parts of fifty patches of noise, 49 kB each, ten in a row group."""
    directory, rng = tmp_path / "bucket" / "store", np.random.default_rng(0)
    directory.mkdir(parents=True)
    for slide in ("a", "b"):
        images = rng.integers(0, 256, (50, 128, 128, 3), dtype=np.uint8)
        rows = [
            Patch(patch_id=f"{slide}{n}", image=image, source="real", label=slide, split="train")
            for n, image in enumerate(images)
        ]
        write_part(part_path(directory, slide), rows, fingerprint="f")
    write_manifest(directory, {})
    return directory


def read_alike(address: str, near: Path, tmp_path: Path) -> None:
    far, here = Store(address), Store(near)
    for name in ("patch_id", "label", "mpp"):
        assert far.column(name) == here.column(name)
    assert far.content_hash() == here.content_hash()
    rows = np.array([99, 3, 60])
    assert (far.images(rows) == here.images(rows)).all()
    truth = PatchDataset(here, balance=True).batch(30, 40, seed=1)
    for options in ({"cache": "off"}, {"cache": str(tmp_path / "kept")}):
        found = PatchDataset(far, balance=True, **options).batch(30, 40, seed=1, stride=40)
        assert all((a == b).all() for a, b in zip(found, truth, strict=True))


def test_over_http_it_fetches_what_it_shows(near: Path, tmp_path: Path, serve: Serve) -> None:
    pytest.importorskip("aiohttp", reason="the extra `remote` is not installed")
    address, handler = serve(serves_heads=True)
    read_alike(f"{address}/bucket/store", near, tmp_path)
    far, size = Store(f"{address}/bucket/store"), sum(part.stat().st_size for part in near.glob("part-*"))
    handler.served = 0
    far.images([5])
    assert handler.served < size / 4, "a row group and what says where it lies, no more"


def test_over_any_protocol_of_fsspec(near: Path, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="the extra `remote` is not installed")
    memory = fsspec.filesystem("memory")
    memory.put(str(near), "/store", recursive=True)
    try:
        read_alike("memory://store", near, tmp_path)
    finally:
        memory.rm("/store", recursive=True)


def test_over_s3(near: Path, tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loopback server answers what reading from S3 asks: the size of an object, and parts of it."""
    pytest.importorskip("s3fs", reason="s3fs, of the extra `remote`, is not installed")
    import fsspec

    address, _ = serve(serves_heads=True)
    monkeypatch.setitem(fsspec.config.conf, "s3", {"anon": True, "client_kwargs": {"endpoint_url": address}})
    read_alike("s3://bucket/store", near, tmp_path)


def test_what_cannot_be_had_is_one_line(near: Path, serve: Serve) -> None:
    pytest.importorskip("aiohttp", reason="the extra `remote` is not installed")
    address, _ = serve()
    with pytest.raises(HistosynthError, match=r"store http://\S+/gone/manifest\.json cannot be reached .*FileNotFound"):
        Store(f"{address}/gone")
    part_path(near, "b").unlink()
    with pytest.raises(HistosynthError, match=r"part http://\S+/part-b\.parquet cannot be reached"):
        Store(f"{address}/bucket/store")
    with pytest.raises(HistosynthError, match=r"lacks part-b\.parquet \(1 of its parts are missing\)"):
        Store(near)
    (near / "manifest.json").write_text('{"kind": "patch store"}')
    with pytest.raises(HistosynthError, match=r"http://\S+/manifest\.json names no files; make the store again"):
        Store(f"{address}/bucket/store")
