"""Text at the boundary: one spelling comes in, and neither a terminal nor a spreadsheet obeys what goes out."""

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from histosynth.cli.info import command as info
from histosynth.cohort.labels import read_labels
from histosynth.cohort.split_table import read_split_table
from histosynth.slides.annotations import find_outlines, summarize_outlines
from histosynth.slides.annotations.read import read_outlines
from histosynth.text import csv_line, nfc, printable, unescape_formula

NFC, NFD = "Gro\u00dfhirn \u00e4", "Gro\u00dfhirn a\u0308"
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


def test_both_spellings_are_one() -> None:
    assert NFC != NFD
    assert nfc(NFD) == nfc(NFC) == NFC


def test_a_table_with_both_spellings_has_one_label_and_one_patient(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(f"slide_id,patient_id,label\n1,{NFC},{NFD}\n2,{NFD},{NFC}\n", "utf-8")
    assert {(row.patient, row.label) for row in read_labels(tmp_path / "l.csv").rows} == {(NFC, NFC)}
    (tmp_path / "s.csv").write_text(f"patient_id,split\n{NFD},train\n", "utf-8")
    assert read_split_table(tmp_path / "s.csv").assign({"1": NFC}, all_slides={"1": NFC}) == {NFC: "train"}


def test_outlines_are_found_and_selected_in_either_spelling(tmp_path: Path) -> None:
    ring = [[0, 0], [9, 0], [9, 9], [0, 0]]
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"classification": {"name": name}},
        }
        for name in (NFC, NFD)
    ]
    path = tmp_path / f"{NFD}.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    assert find_outlines(tmp_path, NFC) == path
    assert summarize_outlines(path)["classes"][NFC]["areas"] == 2
    for name in (NFC, NFD):
        assert read_outlines(path, tumor_classes=[name]).counts["polygons"] == 2


@pytest.mark.parametrize("json_flag", [[], ["--json"]])
def test_info_shows_control_characters_and_sends_none(tmp_path: Path, json_flag: list[str]) -> None:
    evil = "\x1b]0;owned\x07\x9b2J\u202egnp"
    (tmp_path / "l.csv").write_text(f"slide_id,label\n1,{evil}\n", "utf-8")
    result = CliRunner().invoke(info, [str(tmp_path / "l.csv"), *json_flag])
    assert result.exit_code == 0
    assert not set(evil) & set("\x1b\x07\x9b\u202e") & set(result.output)
    assert "\\u001b]0;owned\\u0007\\u009b2J\\u202egnp" in result.output
    if json_flag:
        assert json.loads(result.output)["labels"] == {evil: 1}


@given(st.text(st.characters(exclude_categories=()), max_size=20))
def test_what_is_printed_can_be_printed(text: str) -> None:
    shown = printable(text)
    shown.encode()  # raises on an undecoded byte, which a terminal cannot print
    assert all(character.isprintable() or character in "\n\t" or ord(character) > 0x9F for character in shown)
    if not set(text) & set('\\"'):
        assert json.loads(f'"{shown}"', strict=False) == text


@given(st.lists(texts, min_size=2, max_size=4))
@example(["=1+1", "'=1+1"])
@example(["a\rb", 'c"d'])
@example(["'", "''-"])
def test_a_line_of_a_csv_holds_any_text_and_no_formula(cells: list[str]) -> None:
    line = csv_line(cells)
    (read,) = csv.reader(io.StringIO(line, newline=""), strict=True)
    assert [unescape_formula(cell) for cell in read] == cells
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in read)
    assert csv_line([None, 1, True, 0.5]) == ",1,True,0.5\n"
