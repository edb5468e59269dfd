"""Unusable tiles and tables: each is a one-line error, or is skipped and listed."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from histosynth.convert.tile_images import CheckedTile
from histosynth.convert.tiles import Tile
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
    classes: Path, tmp_path: Path, command: Command, spoil: Any, more: list[str], message: str, name: str
) -> None:
    spoil(classes)
    out = tmp_path / "store"
    code, output, error = command("pack", classes, "--out", out, *more)
    assert (code, output, error.count("\n")) == (2, "", 1)
    assert message in error
    assert not out.exists()
    code, output, error = command("pack", classes, "--out", out, *more, "--skip-bad-tiles", "--json")
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
    classes: Path, tmp_path: Path, command: Command, spoil: Any, more: list[str], message: str
) -> None:
    spoil(classes)
    code, output, error = command("pack", classes, "--out", tmp_path / "store", *more)
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
def test_an_invalid_table_is_a_one_line_error(tmp_path: Path, command: Command, rows: list[Any], message: str) -> None:
    for name in ("a", "b", "one/twice", "two/twice"):
        save(tmp_path / "tiles" / f"{name}.png")
    save(tmp_path / "secret.png")
    code, _, error = command(
        "pack", tmp_path / "tiles", "--labels", table(tmp_path / "l.csv", *rows), "--out", tmp_path / "store"
    )
    assert (code, error.count("\n")) == (2, 1)
    assert message in error
    assert not (tmp_path / "store").exists()


@given(st.integers(8, 40), st.integers(8, 40), st.integers(8, 40))
def test_crops_tile_the_image_without_overlap(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, crop: int
) -> None:
    entry = Tile(path=Path("x"), tile_id="x", label="a", patient_id=None)
    tile = CheckedTile(entry=entry, width_px=width, height_px=height, mpp=None, generator=None, sha256="")
    cover = np.zeros((height, width), int)
    for box in tile.boxes(crop):
        cover[box.y : box.y + crop, box.x : box.x + crop] += 1
        assert box.x + crop <= width
        assert box.y + crop <= height
    assert cover.max(initial=0) <= 1
    assert cover.sum() == (width // crop) * (height // crop) * crop**2


def test_folders_and_tables_in_either_spelling_are_one_class(tmp_path: Path, command: Command) -> None:
    """A file system may spell `ä` as two code points (macOS), a table as one."""
    for number, name in enumerate(("\u00e4", "a\u0308")):
        save(tmp_path / "tiles" / name / f"{name}{number}.png", seed=number)
    code, _, error = command("pack", tmp_path / "tiles", "--out", tmp_path / "store")
    assert code == 0, error
    assert Store(tmp_path / "store").labels == ["\u00e4"]
    rows = [("file", "label"), ("\u00e4/\u00e40.png", "x"), ("\u00e4/\u00e41", "x")]
    labels = table(tmp_path / "l.csv", *rows)
    code, _, error = command("pack", tmp_path / "tiles", "--labels", labels, "--out", tmp_path / "second")
    assert code == 0, error
    assert len(Store(tmp_path / "second")) == 2
