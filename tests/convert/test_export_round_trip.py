"""What an export keeps: every label, also when packed again, and the mark of synthetic patches."""

import csv
import json
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from histosynth.config import PatchSettings
from histosynth.convert.export import export
from histosynth.convert.pack import pack
from histosynth.errors import HistosynthError
from histosynth.store.store import Store
from histosynth.text import nfc

FORMATS = ("png", "npz", "webdataset")
Make = Callable[..., Path]


def image(seed: int, side: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def run(store: Path, out: Path, format: str, **options: Any) -> Any:
    return export(store, out=out, format=format, progress=False, **options)


def everything(directory: Path) -> dict[str, bytes]:
    return {f.relative_to(directory).as_posix(): f.read_bytes() for f in directory.rglob("*") if f.is_file()}


@pytest.mark.parametrize("format", FORMATS)
def test_synthetic_patches_are_marked(tmp_path: Path, make: Make, format: str) -> None:
    samples = make(tmp_path / "samples", ["wt", "wt", "codel"], source="rün-1")
    run(samples, tmp_path / "out", format)
    record = json.loads((tmp_path / "out" / "export.json").read_text())
    assert record["description"].startswith("SYNTHETIC")
    assert (record["synthetic"], record["sources"]) == (3, ["rün-1"])
    pngs = [data for name, data in everything(tmp_path / "out").items() if name.endswith(".png")]
    if format == "webdataset":
        with tarfile.open(tmp_path / "out" / "shard-000000.tar") as tar:
            contents = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        pngs = [data for name, data in contents.items() if name.endswith("png")]
        assert all(json.loads(data)["synthetic"] for name, data in contents.items() if name.endswith("json"))
    assert len(pngs) == (0 if format == "npz" else 3)
    for data in pngs:
        with Image.open(BytesIO(data)) as opened:
            opened.load()
            assert opened.info["Description"].startswith("SYNTHETIC")
            assert opened.info["Source"] == "rün-1"
            assert any((np.asarray(opened) == image(n)).all() for n in range(3))


def test_an_exported_synthetic_patch_is_packed_as_synthetic(tmp_path: Path, make: Make) -> None:
    samples = make(tmp_path / "samples", ["wt", "wt", "codel"], source="run-1")
    run(samples, tmp_path / "out", "png")
    pack(tmp_path / "out", out=tmp_path / "back", settings=PatchSettings(), progress=False)
    back = Store(tmp_path / "back")
    assert back.manifest["synthetic"]
    assert set(back.column("source")) == {"run-1"}
    for name in ("slide_id", "patient_id", "x", "y", "extent", "split"):
        assert set(back.column(name)) == {None}
    Image.fromarray(image(9)).save(tmp_path / "out" / "wt" / "real.png")
    with pytest.raises(
        HistosynthError, match=r"mixes real tiles with synthetic ones, such as .*; pack each kind separately"
    ):
        pack(tmp_path / "out", out=tmp_path / "mixed", settings=PatchSettings(), progress=False)


LABEL = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=40).filter(
    lambda text: text.strip().lower() not in ("", "na", "n/a", "nan", "none", "null")
)


@settings(max_examples=25)
@given(st.lists(LABEL.map(nfc), min_size=2, max_size=5, unique_by=str.casefold))
def test_round_trip_with_any_label(tmp_path_factory: pytest.TempPathFactory, make: Make, labels: list[str]) -> None:
    root = tmp_path_factory.mktemp("round")
    store = make(root / "store", [*labels, *labels])
    run(store, root / "out", "png")
    pack(root / "out", out=root / "back", labels=root / "out" / "labels.csv", settings=PatchSettings(), progress=False)
    original, back = Store(store), Store(root / "back")
    assert len(back) == len(original)
    for n, patient in enumerate(original.column("patient_id")):
        row = back.column("patient_id").index(patient)
        assert (back.images([row]) == original.images([n])).all()
        for name in ("label", "split"):
            assert back.column(name)[row] == original.column(name)[n]


@settings(max_examples=12)
@given(st.lists(st.from_regex(r"[A-Za-z][A-Za-z0-9_ +-]{0,20}[a-z]", fullmatch=True), min_size=2, max_size=4,
                unique_by=str.casefold))  # fmt: skip
def test_round_trip_by_class_folders(tmp_path_factory: pytest.TempPathFactory, make: Make, labels: list[str]) -> None:
    root = tmp_path_factory.mktemp("round")
    store = make(root / "store", [*labels, *labels])
    run(store, root / "out", "png")
    pack(root / "out", out=root / "back", settings=PatchSettings(), progress=False)
    original, back = Store(store), Store(root / "back")

    def content(store: Store) -> set[tuple[str, bytes]]:
        images = store.images(range(len(store)))
        return {(label, i.tobytes()) for label, i in zip(store.column("label"), images, strict=True)}

    assert content(back) == content(original)


def test_labels_become_valid_distinct_file_names(tmp_path: Path, make: Make) -> None:
    labels = ["a/b", "a\\b", "..", ".", "x" * 300, "#c", "WT", "wt", "é" * 100, "nul\0"]
    run(make(tmp_path / "store", [*labels]), tmp_path / "out", "png")
    folders = [entry.name for entry in (tmp_path / "out").iterdir() if entry.is_dir()]
    assert len({name.casefold() for name in folders}) == len(labels)
    assert all(len(name.encode()) <= 104 and name[0] not in ".# " for name in folders)
    files = list((tmp_path / "out").rglob("*.png"))
    assert len(files) == len(labels)
    assert {entry.parent.parent for entry in files} == {tmp_path / "out"}


def test_labels_csv_holds_no_formula_and_packs_back(tmp_path: Path, make: Make) -> None:
    store = make(tmp_path / "store", ["=1+1", "@x", "a\rb"])
    export(store, out=tmp_path / "png", format="png", progress=False)
    text = (tmp_path / "png" / "labels.csv").read_text("utf-8")
    assert "'=1+1" in text
    assert not any(cell.startswith(("=", "@")) for row in csv.reader(text.splitlines()) for cell in row)
    pack(
        tmp_path / "png", out=tmp_path / "back", labels=tmp_path / "png" / "labels.csv", settings=PatchSettings(),
        progress=False,
    )  # fmt: skip
    assert set(Store(tmp_path / "back").labels) == {"=1+1", "@x", "a\rb"}
