"""Decoded patches on disk equal those of the store, or an error says what to do, also after kills and races."""

import os
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from histosynth.errors import HistosynthError
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.store import Store, write_manifest
from histosynth.training.data import pixel_cache
from histosynth.training.data.pixel_cache import PixelCache, file_bytes, space_problem

PX = 16
USAGE = namedtuple("USAGE", "total used free")


def make(directory: Path, count: int = 40, *, seed: int = 0) -> Store:
    directory.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for part in range(2):
        patches = [
            Patch(patch_id=f"{part}_{n}", image=rng.integers(0, 256, (PX, PX, 3), dtype=np.uint8), source="real")
            for n in range(part, count, 2)
        ]
        write_part(part_path(directory, str(part)), patches, fingerprint="f")
    write_manifest(directory, {})
    return Store(directory)


def cache(store: Store, directory: Path, *, limit_gb: float = 1.0) -> PixelCache:
    return PixelCache(store, directory=directory, image_px=PX, limit_gb=limit_gb)


def test_it_equals_the_store_and_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make(tmp_path / "store")
    first = cache(store, tmp_path / "kept")
    rows = np.array([39, 0, 7, 7, 20])
    assert (first.read(rows) == store.images(rows)).all()
    assert first.path.stat().st_size == file_bytes(store, image_px=PX)
    monkeypatch.setattr(Store, "stream_images", None)
    assert (cache(store, tmp_path / "kept").read(rows) == first.read(rows)).all()
    assert sorted(entry.name for entry in (tmp_path / "kept").iterdir()) == [".lock", first.path.name]


def test_stores_of_other_pixels_have_separate_files(tmp_path: Path) -> None:
    caches = [cache(make(tmp_path / str(seed), seed=seed), tmp_path / "kept") for seed in (0, 1)]
    again = cache(make(tmp_path / "copy", seed=0), tmp_path / "kept")
    assert caches[0].path != caches[1].path
    assert again.path == caches[0].path


@pytest.mark.parametrize("damage", ["truncated", "foreign", "longer"])
def test_an_invalid_file_is_written_again(tmp_path: Path, damage: str) -> None:
    store, rows = make(tmp_path / "store"), np.arange(40)
    path = cache(store, tmp_path / "kept").path
    intact = path.read_bytes()
    path.write_bytes({"truncated": intact[:-9], "foreign": b"x" * len(intact), "longer": intact + b"x"}[damage])
    assert (cache(store, tmp_path / "kept").read(rows) == store.images(rows)).all()
    assert path.read_bytes() == intact


def test_a_flipped_bit_is_detected(tmp_path: Path) -> None:
    store = make(tmp_path / "store")
    path = cache(store, tmp_path / "kept").path
    intact, rng = path.read_bytes(), np.random.default_rng(0)
    for at in rng.integers(4096, len(intact), 50).tolist():
        damaged = bytearray(intact)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        with pytest.raises(HistosynthError, match=r"\.pixels is damaged at patch \d+; delete the file"):
            cache(store, tmp_path / "kept").read(np.arange(40))


def test_the_least_recently_used_file_is_deleted_first(tmp_path: Path) -> None:
    stores = [make(tmp_path / str(seed), seed=seed) for seed in range(3)]
    limit = 2.5 * file_bytes(stores[0], image_px=PX) / 1e9
    first, second = (cache(store, tmp_path / "kept", limit_gb=limit) for store in stores[:2])
    os.utime(first.path, (2e9, 2e9))
    third = cache(stores[2], tmp_path / "kept", limit_gb=limit)
    assert {entry.path for entry in (first, third)} == set((tmp_path / "kept").glob("*.pixels"))
    assert (second.read(np.arange(40)) == stores[1].images(np.arange(40))).all(), (
        "a process that has mapped the file keeps it"
    )


def test_missing_space_is_an_error_before_anything_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make(tmp_path / "store")
    kept = cache(store, tmp_path / "kept").path
    with pytest.raises(HistosynthError, match=r"no space for decoded patches: .* more than train\.cache_gb = 1e-06"):
        cache(make(tmp_path / "other", seed=1), tmp_path / "kept", limit_gb=1e-6)
    monkeypatch.setattr(pixel_cache.shutil, "disk_usage", lambda _: USAGE(100, 100, 0))
    large = make(tmp_path / "large", 60, seed=1)
    assert "has 0.0 GB left" in str(space_problem(10**6, directory=tmp_path / "kept", limit_gb=1))
    with pytest.raises(
        HistosynthError, match=r"has 0\.0 GB left; raise train\.cache_gb, free .*, or set train\.cache=off"
    ):
        cache(large, tmp_path / "kept")
    assert kept.is_file()


def test_a_cache_path_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HistosynthError, match=r"cannot be written to .*file.*set train\.cache to another directory"):
        cache(make(tmp_path / "store"), tmp_path / "file")


PROGRAM = """
import os, signal, sys
from pathlib import Path
import numpy as np
from histosynth.training.data.pixel_cache import PixelCache
from histosynth.store.store import Store
store, written = Store(sys.argv[1]), []
stream = Store.stream_images
def watched(self):
    for n, images in enumerate(stream(self)):
        if n == 2 and sys.argv[3] == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        yield images
    written.append(1)
Store.stream_images = watched
cache = PixelCache(store, directory=Path(sys.argv[2]), image_px=16, limit_gb=1)
assert (cache.read(np.arange(len(store))) == store.images(np.arange(len(store)))).all()
print(len(written))
"""


def test_concurrent_processes_after_a_kill_write_one_file(tmp_path: Path) -> None:
    make(tmp_path / "store", 3000)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "store"), str(tmp_path / "kept")]
    assert subprocess.run([*command, "die"], check=False).returncode == -signal.SIGKILL
    assert not list((tmp_path / "kept").glob("*.pixels"))
    processes = [subprocess.Popen([*command, "live"], stdout=subprocess.PIPE) for _ in range(3)]
    assert sorted(int(process.communicate()[0]) for process in processes) == [0, 0, 1]

    assert len(list((tmp_path / "kept").iterdir())) == 2, "one file, and the lock"
