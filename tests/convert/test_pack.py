"""Packing of tiles: pixels, labels, patients and splits are those of the input, and every error is reported."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from histosynth.config import PatchSettings
from histosynth.convert import pack as module
from histosynth.convert.pack import pack
from histosynth.errors import HistosynthError
from histosynth.store.pair import check_pair
from histosynth.store.png import encode_png, synthetic_mark
from histosynth.store.store import Store

Command = Callable[..., tuple[int, str, str]]


def pixels(width: int, height: int, *, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, *, side: int = 16, seed: int = 0) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels(side, side, seed=seed)
    Image.fromarray(image).save(path)
    return image


def table(path: Path, *rows: Sequence[str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def by_id(store: Path) -> dict[str, dict[str, Any]]:
    opened = Store(store)
    rows = opened.table.drop_columns(["image"]).to_pylist()
    images = opened.images(range(len(opened)))
    return {row["patch_id"]: {**row, "image": image} for row, image in zip(rows, images, strict=True)}


def run(folder: Path, out: Path, *, settings: PatchSettings | None = None, **options: Any) -> Any:
    return pack(folder, out=out, settings=settings or PatchSettings(), progress=False, **options)


def test_a_folder_of_classes(classes: Path, tmp_path: Path) -> None:
    result = run(classes, tmp_path / "store", mpp=0.5)
    rows = by_id(tmp_path / "store")
    assert result.patches == len(rows) == 10
    for number in range(10):
        label = ("TUM", "STR")[number % 2]
        row = rows[f"{label}_{number}"]
        assert (row["image"] == pixels(16, 16, seed=number)).all()
        assert (row["label"], row["source"], row["mpp"], row["x"], row["y"], row["extent"]) == (
            label, "real", 0.5, 0, 0, 16,
        )  # fmt: skip
        assert row["slide_id"] == row["patient_id"] == row["patch_id"]
        assert row["tissue"] is None
    for label in ("TUM", "STR"):  # split within each label
        assert {row["split"] for row in rows.values() if row["label"] == label} == {"train", "held_out"}
    manifest = Store(tmp_path / "store").manifest
    assert manifest["totals"]["tiles_without_patient"] == 10
    assert "each counts as a separate patient" in manifest["patients_note"]


def test_crop_and_size_give_area_averages_of_known_squares(tmp_path: Path) -> None:
    save(tmp_path / "tiles" / "a" / "big.png", side=50, seed=3)
    run(tmp_path / "tiles", tmp_path / "store", crop_px=24, size_px=12, mpp=0.25)
    rows = by_id(tmp_path / "store")
    assert set(rows) == {f"a_big_{x}_{y}" for x in (0, 24) for y in (0, 24)}
    whole = pixels(50, 50, seed=3).astype(float)
    for row in rows.values():
        region = whole[row["y"] : row["y"] + 24, row["x"] : row["x"] + 24]
        mean = region.reshape(12, 2, 12, 2, 3).mean((1, 3))
        assert abs(row["image"] - mean).max() <= 0.5
        assert (row["extent"], row["mpp"]) == (24, 0.5)
    assert len({row["patient_id"] for row in rows.values()}) == 1


def test_a_table_may_state_patient_and_split(tmp_path: Path) -> None:
    for number in range(6):
        save(tmp_path / "tiles" / "deep" / f"t{number}.png", seed=number)
    labels = tmp_path / "labels.tsv"
    labels.write_text(
        "# a comment\nImage ID\tCase\tClass\tSplit\n"
        + "".join(f"t{n}{('', '.png')[n % 2]}\tP{n // 2}\tc{n % 2}\t{('train', 'Test')[n // 4]}\n" for n in range(6))
    )
    result = run(tmp_path / "tiles", tmp_path / "store", labels=labels)
    rows = by_id(tmp_path / "store")
    assert {key: (row["label"], row["patient_id"], row["split"]) for key, row in rows.items()} == {
        f"deep_t{n}": (f"c{n % 2}", f"P{n // 2}", ("train", "held_out")[n // 4]) for n in range(6)
    }
    assert (result.patients, result.tiles_without_patient) == (3, 0)
    assert Store(tmp_path / "store").manifest["patients"] == {"train": ["P0", "P1"], "held_out": ["P2"]}


def test_no_patient_is_in_both_splits(tmp_path: Path) -> None:
    rows = [("file", "label", "group"), *((f"{n}.png", f"c{n % 3}", f"g{n % 7}") for n in range(40))]
    for n in range(40):
        save(tmp_path / "tiles" / f"{n}.png", side=8, seed=n)
    run(tmp_path / "tiles", tmp_path / "store", labels=table(tmp_path / "l.csv", *rows))
    splits = {(row["patient_id"], row["split"]) for row in by_id(tmp_path / "store").values()}
    assert len(splits) == 7
    named = PatchSettings(held_out_patients=("g3",))
    run(tmp_path / "tiles", tmp_path / "store", labels=tmp_path / "l.csv", settings=named)
    rows_ = by_id(tmp_path / "store").values()
    assert {row["patient_id"] for row in rows_ if row["split"] == "held_out"} == {"g3"}
    held_out: list[str] = []
    for fold in range(3):
        store = tmp_path / f"fold{fold}"
        run(tmp_path / "tiles", store, labels=tmp_path / "l.csv", settings=PatchSettings(folds=3, fold=fold))
        held_out += {row["patient_id"] for row in by_id(store).values() if row["split"] == "held_out"}
    assert sorted(held_out) == [f"g{n}" for n in range(7)]


def test_unmatched_names_are_listed(tmp_path: Path, command: Command) -> None:
    for name in ("a", "b", "c"):
        save(tmp_path / "tiles" / f"{name}.png")
    labels = table(tmp_path / "l.csv", ("file", "label"), ("a.png", "x"), ("b.png", "NA"), ("gone.png", "x"))
    code, _, error = command("pack", tmp_path / "tiles", "--labels", labels, "--out", tmp_path / "store")
    assert code == 0
    assert "2 tile(s) without a label: b.png, c.png" in error
    assert "1 label(s) without a tile: gone.png" in error
    assert "CAUTION: 1 tile(s) have no patient" in error
    manifest = Store(tmp_path / "store").manifest
    assert (manifest["tiles_unlabeled"], manifest["labels_without_tile"]) == (["b.png", "c.png"], ["gone.png"])


def test_a_barcode_gives_the_patient(tmp_path: Path) -> None:
    for part in ("TCGA-DB-5270-01Z_1", "TCGA-DB-5270-01Z_2", "TCGA-DU-5847-01Z_1"):
        save(tmp_path / "tiles" / "a" / f"{part}.png")
    assert run(tmp_path / "tiles", tmp_path / "store").patients == 2


def test_flat_tiles_need_a_table(tmp_path: Path) -> None:
    save(tmp_path / "tiles" / "a.png")
    with pytest.raises(HistosynthError, match="has no subfolders; create one per class, or give the class"):
        run(tmp_path / "tiles", tmp_path / "store")


def test_a_store_of_other_origin_is_not_touched(classes: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    save(other / "a" / "1.png")
    run(classes, tmp_path / "store")
    before = {file: file.read_bytes() for file in (tmp_path / "store").iterdir()}
    with pytest.raises(HistosynthError, match="were not packed from a folder 'other'"):
        run(other, tmp_path / "store")
    with pytest.raises(HistosynthError, match="is not a patch store and not empty"):
        run(classes, other)
    with pytest.raises(HistosynthError, match="is inside the folder of tiles"):
        run(classes, classes / "store")
    assert before == {file: file.read_bytes() for file in (tmp_path / "store").iterdir()}


def test_only_changed_parts_are_made_again(classes: Path, tmp_path: Path, content: Any) -> None:
    run(classes, tmp_path / "store", mpp=0.5)
    assert run(classes, tmp_path / "store", mpp=0.5).parts_resumed == 2
    save(classes / "TUM" / "0.png", seed=99)
    again = run(classes, tmp_path / "store", mpp=0.5)
    assert (again.parts_resumed, again.parts_remade) == (1, 1)
    run(classes, tmp_path / "whole", mpp=0.5)
    assert content(tmp_path / "store") == content(tmp_path / "whole")


def test_tiles_of_another_generator_become_a_sample_store(classes: Path, tmp_path: Path, command: Command) -> None:
    fake = tmp_path / "fake"
    code, out, error = command("pack", classes, "--out", fake, "--mpp", 0.5, "--synthetic", "--source", "StyleGAN3")
    assert code == 0
    assert "synthetic" in out
    assert "patient" not in error
    store = Store(fake)
    assert (store.manifest["synthetic"], store.manifest["source"]) == (True, "StyleGAN3")
    assert store.generators == ["StyleGAN3"]
    for row in range(len(store)):
        patch = store.patch(row)
        assert (patch.source, patch.split, patch.patient_id, patch.slide_id) == ("StyleGAN3", None, None, None)
        assert patch.texts == synthetic_mark("StyleGAN3")
    run(classes, tmp_path / "real", mpp=0.5)
    check_pair(Store(tmp_path / "real"), store)
    with pytest.raises(HistosynthError, match="or pack the tiles of another generator"):
        check_pair(Store(tmp_path / "real"), Store(tmp_path / "real"))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--synthetic"], "--synthetic needs the name of the generator; add --source NAME"),
        (["--source", "GAN"], "--source GAN names a generator; add --synthetic"),
        (["--synthetic", "--source", "real"], "--source: a generator cannot be called 'real'"),
    ],
)
def test_a_generator_has_a_name_of_its_own(
    classes: Path, tmp_path: Path, command: Command, options: list[str], problem: str
) -> None:
    code, _, error = command("pack", classes, "--out", tmp_path / "store", *options)
    assert code == 2
    assert problem in error


def test_a_mark_that_names_real_makes_no_tile_real(tmp_path: Path) -> None:
    tile = tmp_path / "tiles" / "a" / "1.png"
    tile.parent.mkdir(parents=True)
    tile.write_bytes(encode_png(pixels(16, 16, seed=1), synthetic_mark("real")))
    with pytest.raises(HistosynthError, match=r"the mark of .*1\.png .* cannot be called 'real'"):
        run(tmp_path / "tiles", tmp_path / "store")
    run(tmp_path / "tiles", tmp_path / "store", generator="unet")
    assert Store(tmp_path / "store").generators == ["unet"]


def test_many_tiles_make_several_parts(classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PART_PATCHES", 9)
    run(classes, tmp_path / "store", crop_px=8)  # four patches per tile, so two tiles per part
    parts = sorted(part.name for part in (tmp_path / "store").glob("*.parquet"))
    assert parts == [f"part-{label}-0000{n}.parquet" for label in ("STR", "TUM") for n in range(3)]
    assert len(by_id(tmp_path / "store")) == 40


def test_rerun_after_a_kill_gives_the_same_bytes(
    tmp_path: Path, command: Command, content: Callable[[Path], dict[str, bytes]]
) -> None:
    for number in range(24):
        save(tmp_path / "tiles" / f"c{number % 8}" / f"{number}.png", side=256, seed=number)
    arguments = [str(tmp_path / "tiles"), "--crop", "32", "--out"]
    out = tmp_path / "store"
    process = subprocess.Popen(
        [sys.executable, "-m", "histosynth", "pack", *arguments, str(out)], stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 60
    while not list(out.glob("part-*.parquet")):
        assert process.poll() is None, "the process ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 1 <= len(list(out.glob("part-*.parquet"))) < 8
    assert not (out / "manifest.json").exists()
    assert command("pack", *arguments, out)[0] == 0
    assert command("pack", *arguments, tmp_path / "whole")[0] == 0
    assert content(out) == content(tmp_path / "whole")


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "options", "patches", "patients"),
    [
        ("crc_val_he_7k_sample", {"mpp": 0.5}, 70, 70),
        ("lc25000_768", {"crop_px": 256, "size_px": 32}, 900, 84),
        ("osteosarcoma_10x", {"size_px": 64, "mpp": 1.0}, 60, 7),
    ],
)
def test_real_tiles(
    shared_data: Path, tmp_path: Path, name: str, options: dict[str, Any], patches: int, patients: int
) -> None:
    source = shared_data / name
    result = run(source / "images", tmp_path / "store", labels=source / "labels.csv", **options)
    rows = by_id(tmp_path / "store")
    assert (result.patches, len(rows), result.patients) == (patches, patches, patients)
    with (source / "labels.csv").open() as file:
        truth = {Path(row["file"]).stem: row for row in csv.DictReader(file)}
    assert {row["slide_id"]: row["label"] for row in rows.values()} == {key: row["class"] for key, row in truth.items()}
    for row in rows.values():
        stated = truth[row["slide_id"]]
        assert row["patient_id"] == stated.get("group", stated.get("case", row["slide_id"]))
