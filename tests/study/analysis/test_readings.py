"""Readings in and out: the database, CSV and back, and what a CSV may have wrong."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histosynth.errors import HistosynthError
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


def test_a_study_s_readings_are_its_main_ones_in_the_order_read(answered) -> None:
    found = load_readings(answered.path)
    assert (found.title, found.margin, found.alpha) == ("A study", 0.1, 0.05)
    assert found.planned == {"Reader 1": 5, "Reader 2": 5}
    assert found.missing == {}
    assert [r.position for r in found.readings] == [2, 3, 4, 5, 6] * 2
    assert [r.is_repeat for r in found.readings] == [False] * 4 + [True] + [False] * 4 + [True]
    assert [r.truth for r in found.readings[:4]] == ["real", "synthetic"] * 2
    assert [r.correct for r in found.readings[:4]] == [False, True] * 2
    assert [r.score for r in found.readings[:4]] == [3, 4, 5, 1]
    assert found.readings[0].patient_id == "patient_2"
    assert found.readings[1].source == "run"
    assert found.readings[0].comment == "=comment 2"
    assert found.readings[0].seconds == 4.0


def test_pictures_are_those_that_readers_saw(answered) -> None:
    case = load_readings(answered.path).readings[0].case
    found = load_pictures(answered.path, [case])
    assert list(found) == [case]
    assert found[case].startswith(b"\x89PNG")


def test_a_csv_holds_everything(tmp_path: Path, make_readings) -> None:
    made = make_readings(2, 12, generators=("a", "b"))
    write_csv(tmp_path / "r.csv", made.readings)
    found = read_csv(tmp_path / "r.csv")
    assert list(found.readings) == list(made.readings)
    assert (found.title, found.margin, found.planned) == ("r", None, {})
    assert (tmp_path / "r.csv").read_text().splitlines()[0] == ",".join(COLUMNS)


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@settings(max_examples=50)
@given(comment=texts, patch_id=texts.filter(bool), label=st.none() | texts.filter(bool))
def test_any_text_survives_and_none_is_a_formula(
    tmp_path_factory: pytest.TempPathFactory, comment: str, patch_id: str, label: str | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    one = replace(ONE, comment=comment, patch_id=patch_id, label=label)
    write_csv(path, [one])
    assert read_csv(path).readings == [one]
    for text in (comment, patch_id):
        if text.startswith(("=", "+", "-", "@")):
            assert f"'{text[0]}" in path.read_text("utf-8")


def test_five_columns_are_enough(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(f"{HEADER}\nA,1,real,real,5\nA,2,synthetic,real,1\n")
    first, second = read_csv(tmp_path / "r.csv").readings
    assert (first.source, second.source, second.position, second.seconds) == ("real", "synthetic", 1, None)
    assert (first.label, first.patch_id, first.is_repeat) == (None, "1", False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("reader,case,truth,sad,confidence\nA,1,real,real,5\n", r"lacks the column 'said' \(did you mean 'sad'\?\)"),
        ("", "lacks the column 'reader'"),
        (f"{HEADER}\nA,1,fake,real,5\n", r"line 2: truth 'fake'"),
        (f"{HEADER}\nA,1,real,real,6\n", r"line 2: confidence '6'"),
        (f"{HEADER}\nA,1,real,real,\n", r"line 2: confidence is missing"),
        (f"{HEADER}\nA,1,real,real,5\nA,1,real,real,4\n", r"line 3: A read 1 in line 2 already; mark second showings"),
        (f"{HEADER}\nA,1,real,real,5\nB,1,synthetic,real,4\n", r"line 3: case 1 was .*real"),
        (f"{HEADER},source\nA,1,real,real,5,unet\n", r"line 2: truth is 'real', but source is 'unet'"),
        (f"{HEADER},seconds\nA,1,real,real,5,nan\n", r"line 2: seconds 'nan'"),
        (f'{HEADER}\nA,"1,real,real,5\n', "no CSV of readings"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_csv_is_said_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(HistosynthError, match=said):
        read_csv(tmp_path / "r.csv")


def test_a_csv_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(HistosynthError, match="no CSV of readings"):
        read_csv(tmp_path / "r.csv")
