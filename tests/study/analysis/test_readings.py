"""Readings: loaded from the database, written to a CSV and read back, and errors in a CSV."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from histosynth.errors import HistosynthError
from histosynth.study.analysis.declared import Declared
from histosynth.study.analysis.readings import (
    COLUMNS,
    Reading,
    load_pictures,
    load_readings,
)
from histosynth.study.analysis.readings_csv import read_csv, write_csv

ONE = Reading(
    reader="Reader 1", case="c", label="a", truth="synthetic", source="unet", is_repeat=False, position=0,
    said="real", confidence=4, seconds=2.5, answered_at="", comment="", patch_id="unet_1", patient_id=None,
)  # fmt: skip
HEADER = "reader,case,truth,said,confidence"


def test_readings_of_a_study_are_its_main_ones_in_the_order_read(answered) -> None:
    readings = load_readings(answered.path)
    assert readings.title == "A study"
    assert readings.declared == Declared(margin=0.1, area_margin=0.14, alpha=0.05)
    assert readings.planned == {"Reader 1": 5, "Reader 2": 5}
    assert readings.missing == {}
    assert [r.position for r in readings.readings] == [2, 3, 4, 5, 6] * 2
    assert [r.is_repeat for r in readings.readings] == [False] * 4 + [True] + [False] * 4 + [True]
    assert [r.truth for r in readings.readings[:4]] == ["real", "synthetic"] * 2
    assert [r.correct for r in readings.readings[:4]] == [False, True] * 2
    assert [r.score for r in readings.readings[:4]] == [3, 4, 5, 1]
    assert readings.readings[0].patient_id == "patient_2"
    assert readings.readings[1].source == "run"
    assert readings.readings[0].comment == "=comment 2"
    assert readings.readings[0].seconds == 4.0


def test_pictures_are_those_that_readers_saw(answered) -> None:
    case = load_readings(answered.path).readings[0].case
    pictures = load_pictures(answered.path, [case])
    assert list(pictures) == [case]
    assert pictures[case].startswith(b"\x89PNG")


def test_a_csv_contains_all_columns(tmp_path: Path, make_readings) -> None:
    readings = make_readings(2, 12, generators=("a", "b"))
    write_csv(tmp_path / "r.csv", readings.readings)
    loaded = read_csv(tmp_path / "r.csv")
    assert list(loaded.readings) == list(readings.readings)
    assert (loaded.title, loaded.declared, loaded.planned) == ("r", None, {})
    assert (tmp_path / "r.csv").read_text().splitlines()[0] == ",".join(COLUMNS)


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@settings(max_examples=50)
@example(comment="", patch_id="\r", label="a\rb")
@given(comment=texts, patch_id=texts.filter(bool), label=st.none() | texts.filter(bool))
def test_any_text_is_preserved_and_never_a_formula(
    tmp_path_factory: pytest.TempPathFactory, comment: str, patch_id: str, label: str | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    one = replace(ONE, comment=comment, patch_id=patch_id, label=label)
    write_csv(path, [one])
    assert read_csv(path).readings == [one]
    for text in (comment, patch_id):
        if text.startswith(("=", "+", "-", "@")):
            assert f"'{text[0]}" in path.read_text("utf-8")


def test_five_columns_suffice(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(f"{HEADER}\nA,1,real,real,5\nA,2,synthetic,real,1\n")
    first, second = read_csv(tmp_path / "r.csv").readings
    assert (first.source, second.source, second.position, second.seconds) == ("real", "synthetic", 1, None)
    assert (first.label, first.patch_id, first.is_repeat) == (None, "1", False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("reader,case,truth,sad,confidence\nA,1,real,real,5\n", r"lacks the column 'said' \(did you mean 'sad'\?\)"),
        ("", "lacks the column 'reader'"),
        (f"{HEADER}\nA,1,fake,real,5\n", r"line 2: truth 'fake'"),
        (f"{HEADER}\nA,1,real,real,6\n", r"line 2: confidence '6'"),
        (f'{HEADER}\nA,1,real,real,"6\n\x1b[31m"\n', r"line 3: confidence '6 +\[31m'"),
        (f"{HEADER}\nA,1,real,real,\n", r"line 2: confidence is missing"),
        (f"{HEADER}\nA,1,real,real,5\nA,1,real,real,4\n", r"line 3: A already read 1 in line 2; mark repeats"),
        (f"{HEADER}\nA,1,real,real,5\nB,1,synthetic,real,4\n", r"line 3: case 1 was .*real"),
        (f"{HEADER},source\nA,1,real,real,5,unet\n", r"line 2: truth is 'real', but source is 'unet'"),
        (f"{HEADER},seconds\nA,1,real,real,5,nan\n", r"line 2: seconds 'nan'"),
        (f'{HEADER}\nA,"1,real,real,5\n', "not a CSV of readings"),
    ],
)  # fmt: skip
def test_errors_in_a_csv_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(HistosynthError, match=message):
        read_csv(tmp_path / "r.csv")


def test_a_csv_that_is_not_text_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(HistosynthError, match="not a CSV of readings"):
        read_csv(tmp_path / "r.csv")
