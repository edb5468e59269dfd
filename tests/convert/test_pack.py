"""Packing of tiles: pixels, labels, patients and splits are those of the input, and every error is reported."""

import csv
import json
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
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from histosynth.cli import main
from histosynth.config import PatchSettings
from histosynth.convert import pack as module
from histosynth.convert.pack import pack
from histosynth.errors import HistosynthError
from histosynth.store.store import Store

Verb = Callable[..., tuple[int, str, str]]


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Verb:
    """Return a function that runs the command in this process: exit code, standard output, standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["histosynth", "pack", *map(str, arguments), "--quiet"])
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0), *capsys.readouterr()
        return 0, *capsys.readouterr()

    return call


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


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Return a folder of two classes with five tiles of 16 px each."""
    for number in range(10):
        save(tmp_path / "tiles" / ("TUM", "STR")[number % 2] / f"{number}.png", seed=number)
    return tmp_path / "tiles"


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


def test_unmatched_names_are_listed(tmp_path: Path, verb: Verb) -> None:
    for name in ("a", "b", "c"):
        save(tmp_path / "tiles" / f"{name}.png")
    labels = table(tmp_path / "l.csv", ("file", "label"), ("a.png", "x"), ("b.png", "NA"), ("gone.png", "x"))
    code, _, error = verb(tmp_path / "tiles", "--labels", labels, "--out", tmp_path / "store")
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


def empty_class(tiles: Path) -> None:
    (tiles / "EMPTY").mkdir()


def differ_in_case(tiles: Path) -> None:
    save(tiles / "tum" / "1.png")


def too_small(tiles: Path) -> None:
    save(tiles / "TUM" / "small.png", side=9)


def oblong(tiles: Path) -> None:
    Image.fromarray(pixels(16, 17, seed=0)).save(tiles / "TUM" / "oblong.png")


def deep_gray(tiles: Path) -> None:
    Image.fromarray(np.zeros((16, 16), np.uint16)).save(tiles / "TUM" / "deep.png")


def deep_color(tiles: Path) -> None:
    import tifffile

    tifffile.imwrite(tiles / "TUM" / "deep.tif", np.zeros((16, 16, 3), np.uint16), photometric="rgb")


def truncated(tiles: Path) -> None:
    data = (tiles / "TUM" / "0.png").read_bytes()
    (tiles / "TUM" / "0.png").write_bytes(data[: len(data) // 2])


def no_image(tiles: Path) -> None:
    (tiles / "TUM" / "0.png").write_bytes(b"")


def stray(tiles: Path) -> None:
    save(tiles / "stray.png")


def deeper(tiles: Path) -> None:
    save(tiles / "TUM" / "more" / "9.png")


def same_id(tiles: Path) -> None:
    save(tiles / "TUM" / "0.jpg")


def nothing(tiles: Path) -> None:
    pass


BAD_TILES = [
    (empty_class, [], "class folder", "EMPTY"),
    (too_small, ["--size", "16"], "smaller than --size 16", "TUM/small.png"),
    (too_small, ["--crop", "16"], "smaller than one crop of 16 px", "TUM/small.png"),
    (too_small, [], "is 9 px wide, while most are 16 px; pass --size 9", "TUM/small.png"),
    (oblong, [], "is 16 x 17 px, not square; crop squares from it with --crop", "TUM/oblong.png"),
    (deep_gray, [], "save it as 8-bit RGB", "TUM/deep.png"),
    (deep_color, [], "save it as 8-bit RGB", "TUM/deep.tif"),
    (truncated, [], "cannot be read", "TUM/0.png"),
    (no_image, [], "the file is empty", "TUM/0.png"),
    (stray, [], "is outside the class folders", "stray.png"),
    (deeper, [], "contains a folder, more", "TUM/more"),
]


@pytest.mark.parametrize(("spoil", "more", "message", "name"), BAD_TILES)
def test_an_unusable_tile_is_an_error_or_skipped_and_listed(
    classes: Path, tmp_path: Path, verb: Verb, spoil: Any, more: list[str], message: str, name: str
) -> None:
    spoil(classes)
    out = tmp_path / "store"
    code, output, error = verb(classes, "--out", out, *more)
    assert (code, output, error.count("\n")) == (2, "", 1)
    assert message in error
    assert not out.exists()
    code, output, error = verb(classes, "--out", out, *more, "--skip-bad-tiles", "--json")
    assert code == 0, error
    assert list(json.loads(output)["tiles_skipped"]) == [name]
    assert message in Store(out).manifest["tiles_skipped"][name]
    assert len(Store(out)) == 10 - (name == "TUM/0.png")


@pytest.mark.parametrize(
    ("spoil", "more", "message"),
    [
        (differ_in_case, [], "has the classes 'TUM' and 'tum', which differ only in letter case"),
        (same_id, [], "two tiles have the id 'TUM_0'"),
        (nothing, ["--set", "patches.cap=3"], "--set patches.cap does not apply to pack"),
        (nothing, ["--set", 'patches.held_out_patients=["Q"]'], "names 'Q', a patient without data here"),
        (nothing, ["--crop", "8", "--size", "16"], "a crop of 8 px cannot become a patch of 16 px"),
        (nothing, ["--mpp", "50"], "50 microns per pixel is out of range"),
        (nothing, ["--size", "3"], "--size"),
        (nothing, ["--labels", "absent.csv"], "labels absent.csv cannot be read"),
    ],
)
def test_invalid_input_is_a_one_line_error_and_leaves_no_files(
    classes: Path, tmp_path: Path, verb: Verb, spoil: Any, more: list[str], message: str
) -> None:
    spoil(classes)
    code, output, error = verb(classes, "--out", tmp_path / "store", *more)
    assert (code, output, error.count("\n")) == (2, "", 1)
    assert message in error
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("file", "label"), ("../secret.png", "x")], "line 2: '../secret.png' leads out of the folder"),
        ([("file", "label"), ("/etc/a.png", "x")], "leads out of the folder"),
        ([("file", "label"), ("C:\\a.png", "x")], "leads out of the folder"),
        ([("file", "label"), ("sub\\..\\..\\a.png", "x")], "leads out of the folder"),
        ([("file", "label"), ("", "x")], "line 2: no file is named"),
        ([("file", "age"), ("a.png", "40")], "no label column among file, age"),
        ([("name_of_it", "label"), ("a.png", "x")], "no file column among name_of_it, label"),
        ([("file", "label"), ("a.png", "x"), ("a", "y")], "line 3: contradicts line 2 on a"),
        ([("file", "label"), ("a.png", "x"), ("b.png", "X")], "'X' and 'x', which differ only in letter case"),
        ([("file", "label"), ("twice.png", "x")], "'twice.png' matches 2 files in"),
        ([("file", "label", "split"), ("a.png", "x", "maybe")], "line 2: split 'maybe' is unknown"),
        (
            [("file", "label", "case", "split"), ("a.png", "x", "P", "train"), ("b.png", "x", "P", "test")],
            "line 3: patient P is in held_out here and in train in line 2",
        ),
        ([("file", "label"), ("gone.png", "x")], "no usable tile in"),
        ([], "is empty"),
    ],
)
def test_an_invalid_table_is_a_one_line_error(tmp_path: Path, verb: Verb, rows: list[Any], message: str) -> None:
    for name in ("a", "b", "one/twice", "two/twice"):
        save(tmp_path / "tiles" / f"{name}.png")
    save(tmp_path / "secret.png")
    code, _, error = verb(tmp_path / "tiles", "--labels", table(tmp_path / "l.csv", *rows), "--out", tmp_path / "store")
    assert (code, error.count("\n")) == (2, 1)
    assert message in error
    assert not (tmp_path / "store").exists()


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


def test_many_tiles_make_several_parts(classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PART_PATCHES", 9)
    run(classes, tmp_path / "store", crop_px=8)  # four patches per tile, so two tiles per part
    parts = sorted(part.name for part in (tmp_path / "store").glob("*.parquet"))
    assert parts == [f"part-{label}-0000{n}.parquet" for label in ("STR", "TUM") for n in range(3)]
    assert len(by_id(tmp_path / "store")) == 40


def test_rerun_after_a_kill_gives_the_same_bytes(
    tmp_path: Path, verb: Verb, content: Callable[[Path], dict[str, bytes]]
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
    assert verb(*arguments, out)[0] == 0
    assert verb(*arguments, tmp_path / "whole")[0] == 0
    assert content(out) == content(tmp_path / "whole")


@given(st.integers(8, 40), st.integers(8, 40), st.integers(8, 40))
def test_crops_tile_the_image_without_overlap(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, crop: int
) -> None:
    from histosynth.convert.tile_images import CheckedTile
    from histosynth.convert.tiles import Tile

    entry = Tile(path=Path("x"), tile_id="x", label="a", patient_id=None)
    tile = CheckedTile(entry=entry, width_px=width, height_px=height, mpp=None, source="real", sha256="")
    cover = np.zeros((height, width), int)
    for box in tile.boxes(crop):
        cover[box.y : box.y + crop, box.x : box.x + crop] += 1
        assert box.x + crop <= width
        assert box.y + crop <= height
    assert cover.max(initial=0) <= 1
    assert cover.sum() == (width // crop) * (height // crop) * crop**2


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
