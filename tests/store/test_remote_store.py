"""A remote store reads like the local directory; whatever cannot be read gives a one-line error."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from histosynth.errors import HistosynthError
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.store import Store, write_manifest
from histosynth.training.data.dataset import PatchDataset
from limits import attempt
from mutations import Mutations

Serve = Callable[..., tuple[str, Any]]


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """Return a store of two parts of fifty patches of noise, 49 kB each, ten per row group."""
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


def assert_reads_equal(address: str, local: Path, tmp_path: Path) -> None:
    remote, here = Store(address), Store(local)
    for name in ("patch_id", "label", "mpp"):
        assert remote.column(name) == here.column(name)
    assert remote.content_hash() == here.content_hash()
    rows = np.array([99, 3, 60])
    assert (remote.images(rows) == here.images(rows)).all()
    truth = PatchDataset(here, balance=True).batch(30, 40, seed=1)
    for options in ({"cache": "off"}, {"cache": str(tmp_path / "kept")}):
        batch = PatchDataset(remote, balance=True, **options).batch(30, 40, seed=1)
        assert all((a == b).all() for a, b in zip(batch, truth, strict=True))


def test_http_fetches_only_what_is_read(local: Path, tmp_path: Path, serve: Serve) -> None:
    pytest.importorskip("aiohttp", reason="the extra `remote` is not installed")
    address, handler = serve(serves_heads=True)
    assert_reads_equal(f"{address}/bucket/store", local, tmp_path)
    remote, size = Store(f"{address}/bucket/store"), sum(part.stat().st_size for part in local.glob("part-*"))
    handler.served = 0
    remote.images([5])
    assert handler.served < size / 4, "one row group and its footer"


def test_any_fsspec_protocol_is_read(local: Path, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="the extra `remote` is not installed")
    memory = fsspec.filesystem("memory")
    memory.put(str(local), "/store", recursive=True)
    try:
        assert_reads_equal("memory://store", local, tmp_path)
    finally:
        memory.rm("/store", recursive=True)


def test_s3_is_read(local: Path, tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loopback server answers the requests of S3 reading: the size of an object, and ranges of it."""
    pytest.importorskip("s3fs", reason="s3fs, of the extra `remote`, is not installed")
    import fsspec

    address, _ = serve(serves_heads=True)
    monkeypatch.setitem(fsspec.config.conf, "s3", {"anon": True, "client_kwargs": {"endpoint_url": address}})
    assert_reads_equal("s3://bucket/store", local, tmp_path)


def test_unreadable_stores_are_one_line_errors(local: Path, serve: Serve) -> None:
    pytest.importorskip("aiohttp", reason="the extra `remote` is not installed")
    address, _ = serve()
    with pytest.raises(HistosynthError, match=r"store http://\S+/gone/manifest\.json cannot be reached .*FileNotFound"):
        Store(f"{address}/gone")
    part_path(local, "b").unlink()
    with pytest.raises(HistosynthError, match=r"part http://\S+/part-b\.parquet cannot be reached"):
        Store(f"{address}/bucket/store")
    with pytest.raises(HistosynthError, match=r"lacks part-b\.parquet \(1 of its parts are missing\)"):
        Store(local)
    (local / "manifest.json").write_text('{"kind": "patch store"}')
    with pytest.raises(HistosynthError, match=r"http://\S+/manifest\.json names no files; make the store again"):
        Store(f"{address}/bucket/store")


@pytest.mark.parametrize("name", ["http://127.0.0.1:9/part-a.parquet", "../part-a.parquet", "/etc/part-a.parquet", "a"])
def test_the_manifest_of_a_remote_store_leads_nowhere_else(
    local: Path, serve: Serve, tmp_path: Path, name: str
) -> None:
    manifest = json.loads((local / "manifest.json").read_text())
    (local / "manifest.json").write_text(json.dumps(manifest | {"files": {name: 9}}))
    with pytest.raises(HistosynthError, match=r"manifest\.json is damaged \(files"):
        Store(f"{serve()[0]}/bucket/store")


def test_a_damaged_manifest_gives_one_line_or_the_store(local: Path) -> None:
    path, refused = local / "manifest.json", 0
    for copy in Mutations(path.read_bytes(), count=500):
        path.write_bytes(copy)
        refused += attempt(lambda: Store(local)) is not None
    assert 50 < refused < 500
