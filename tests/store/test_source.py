"""Synthetic is a property of the store: the name of a run or generator makes no patch real, and leads to no path."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from histosynth.convert.export import export
from histosynth.errors import HistosynthError
from histosynth.inspect.describe import describe
from histosynth.store.pair import check_pair
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.png import is_synthetic, read_texts
from histosynth.store.source import check_generator, made_by_model
from histosynth.store.store import Store, write_manifest


def make(path: Path, *, source: str, manifest: dict[str, Any]) -> Path:
    path.mkdir()
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    rows = [Patch(patch_id=f"{n}", image=image, source=source, label="wt") for n in range(3)]
    write_part(part_path(path, "a"), rows, fingerprint="f")
    write_manifest(path, manifest)
    return path


@pytest.fixture
def samples_called_real(tmp_path: Path) -> Path:
    """A sample store that states `real` as its source, as a run directory of that name gave."""
    return make(tmp_path / "samples", source="real", manifest={"synthetic": True, "source": "real"})


def test_the_manifest_makes_a_store_synthetic(samples_called_real: Path, tmp_path: Path) -> None:
    fake, real = Store(samples_called_real), Store(make(tmp_path / "tissue", source="real", manifest={}))
    assert (fake.synthetic, fake.generators) == (True, ["real"])
    assert is_synthetic(fake.mark)
    assert (real.synthetic, real.generators, real.mark) == (False, [], {})
    check_pair(real, fake)
    with pytest.raises(HistosynthError, match="holds real patches; swap"):
        check_pair(fake, real)
    with pytest.raises(HistosynthError, match="holds 3 synthetic patches among 3"):
        check_pair(fake, fake)
    assert describe(fake.path)["kind"] == "sample store"
    assert describe(real.path)["kind"] == "patch store"


@pytest.mark.parametrize("format", ["png", "webdataset", "npz"])
def test_an_export_marks_the_samples_of_a_run_called_real(
    samples_called_real: Path, tmp_path: Path, format: str
) -> None:
    assert export(samples_called_real, out=tmp_path / "out", format=format, progress=False).synthetic == 3
    assert json.loads((tmp_path / "out" / "export.json").read_text())["description"].startswith("SYNTHETIC")
    if format == "png":
        files = sorted((tmp_path / "out").rglob("*.png"))
        assert len(files) == 3
        assert all(is_synthetic(read_texts(file.read_bytes())) for file in files)


def test_a_patch_that_names_a_generator_is_synthetic_in_any_store() -> None:
    assert made_by_model({}, "run")
    assert made_by_model({"synthetic": True}, "real")
    assert not made_by_model({}, "real")


@pytest.mark.parametrize("name", ["real", "Real", "", " ", "../out", "a/b", "a\\b", "a\0b", "a\x1b[2Jb", "ä" * 101])
def test_a_generator_cannot_have_this_name(name: str) -> None:
    with pytest.raises(HistosynthError, match="a generator cannot be called") as caught:
        check_generator(name, where="--source")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["unet", "StyleGAN3 (ema)", "Läufe 2", "realistic"])
def test_a_generator_may_have_any_other_name(name: str) -> None:
    assert check_generator(name, where="--source") == name
