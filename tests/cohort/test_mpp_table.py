from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from histosynth.cli import main
from histosynth.cohort.mpp_table import read_mpp_table
from histosynth.config import PatchSettings
from histosynth.errors import HistosynthError
from histosynth.patches.extract import extract
from histosynth.store.store import Store


def table(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("slide_id,mpp\na,0.5\nb.svs,0.25\n", "utf-8"),
        ("Filename;MPP\nb.svs;0.25\na.ome.tif;0.5\na.ome.tif;0.50\n", "utf-8-sig"),
        ("# from the scanner\nmicrons per pixel\tslide\n0.5\ta\n0.25\tb\n", "utf-16"),
    ],
)
def test_common_table_formats_are_read(tmp_path: Path, text: str, encoding: str) -> None:
    assert read_mpp_table(table(tmp_path / "m.csv", text, encoding)) == {"a": 0.5, "b": 0.25}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"m\.csv is empty; add a header such as slide_id,mpp"),
        ("slide_id,mpp\n", "names no slide"),
        ("slide_id,magnification\na,20\n", "no mpp column among slide_id, magnification"),
        ("mpp\n0.5\n", "no slide column"),
        ("slide_id,mpp\na,20\n", "line 2: '20' microns per pixel is not a number from 0.05 to 10"),
        ("slide_id;mpp\na;0,25\n", "line 2: '0,25' microns per pixel is not a number from 0.05 to 10"),
        ("slide_id,mpp\na,nan\n", "line 2: the slide or its mpp is missing"),
        ("slide_id,mpp\na,0.5\na.svs,0.25\n", "line 3: slide a.svs has 0.5 in an earlier line and 0.25 here"),
    ],
)
def test_invalid_tables_are_one_line_errors(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(HistosynthError, match=message) as caught:
        read_mpp_table(table(tmp_path / "m.csv", text))
    assert "\n" not in str(caught.value)


def test_the_table_overrides_mpp_and_the_slide(
    tmp_path: Path, draw_cohort: Callable[..., Any], small: PatchSettings
) -> None:
    cohort = draw_cohort(2)
    stated = table(tmp_path / "m.csv", "slide_id,mpp\nS1,0.25\nelsewhere,0.5\n")
    extract(**cohort.inputs, mpp_table=stated, out=tmp_path / "store", settings=small, workers=1, progress=False)
    store = Store(tmp_path / "store")
    extents = dict(zip(store.column("slide_id"), store.column("extent"), strict=True))
    assert extents == {"S0": 32, "S1": 64}  # 16 um: at 0.5 and at 0.25 microns per pixel
    assert set(store.column("mpp")) == {1.0}
    assert store.manifest["mpp_table"] == {"S1": 0.25}
    assert store.manifest["mpp_table_without_slide"] == ["elsewhere"]


def test_an_error_on_missing_mpp_names_both_fixes_and_the_slide_can_be_skipped(
    tmp_path: Path, draw_cohort: Callable[..., Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = draw_cohort(2)
    (tmp_path / "m.csv").write_text("slide_id,mpp\nS1,0.5\n")
    command = [
        "histosynth",
        "patches",
        str(cohort.slides),
        "--mpp-table",
        str(tmp_path / "m.csv"),
        "--out",
        str(tmp_path / "store"),
    ]
    command += ["--set", "patches.region_px=64", "--set", "patches.patch_px=16", "--workers", "1", "--quiet"]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit, match="2"):
        main()
    error = capsys.readouterr().err
    assert "slide S0 states no microns per pixel; pass --mpp" in error
    assert "--mpp-table" in error
    assert not (tmp_path / "store").exists()
    monkeypatch.setattr("sys.argv", [*command, "--skip-bad-slides"])
    main()
    store = Store(tmp_path / "store")
    assert set(store.column("slide_id")) == {"S1"}
    skipped = next(slide for slide in store.manifest["slides"] if slide["slide_id"] == "S0")
    assert "--mpp-table" in skipped["reason"]
