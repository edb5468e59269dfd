"""Split tables: patients by name or by slide, each with one split, none missing."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histosynth.cohort.split_table import SplitRow, SplitTable, read_split_table
from histosynth.config import PatchSettings
from histosynth.errors import HistosynthError
from histosynth.patches.extract import extract

SLIDES = {"S1": "P1", "S2": "P1", "S3.0F-2A": "P3", "TCGA-DB-5270-01Z": "TCGA-DB-5270"}


def table(folder: Path, text: str) -> SplitTable:
    path = folder / "split.csv"
    path.write_text(text)
    return read_split_table(path)


@pytest.mark.parametrize(
    "text",
    [
        "patient_id,split\nP1,train\nP3,held_out\nTCGA-DB-5270,train\n",
        "Case;Set\nP1;Training\nP3;TEST\nTCGA-DB-5270-01;train\n",
        "slide_id,split\nS2.svs,train\nS3,val\nTCGA-DB-5270-01Z,train\n",
        "slide_id,patient_id,partition\nwhatever,P1,train\nS3,,valid\n,TCGA-DB-5270,train\n",
        "patient,split\nP1,train\nP1,train\nP3,Held-Out\nP9,test\nTCGA-DB-5270,train\n",
    ],
)
def test_common_table_formats_are_read(tmp_path: Path, text: str) -> None:
    split = table(tmp_path, text).assign(SLIDES, all_slides=SLIDES)
    assert split == {"P1": "train", "P3": "held_out", "TCGA-DB-5270": "train"}


def test_unknown_names_are_listed_except_those_of_skipped_slides(tmp_path: Path) -> None:
    read = table(tmp_path, "patient_id,split\nP1,train\nP3,test\nP8,test\nP9,train\nTCGA-DB-5270,test\n")
    assert read.assign({"S1": "P1"}, all_slides=SLIDES) == {"P1": "train"}
    assert read.describe(SLIDES) == {
        "by": "split table", "file": "split.csv", "rows": 5, "without_slide": ["P8", "P9"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patient_id,split\nP1,train\n", r"lacks 2 patient\(s\): P3, TCGA-DB-5270; add them"),
        ("slide_id,split\nS1,train\nS2,test\n", "patient P1 is train in line 2 and held_out in line 3"),
        ("patient_id,split\nP9,train\nP9,test\n", "patient P9 is train in line 2 and held_out in line 3"),
        ("patient_id,split\nP1,3\n", "line 2: the split of P1 is '3'; write train or held_out"),
        ("patient_id,split\nP1,\n", "line 2: the split of P1 is ''"),
        ("patient_id,split\n,train\n", "line 2: neither patient nor slide is named"),
        ("patient_id,fold\nP1,3\n", "no split column among patient_id, fold"),
        ("name,split\nP1,train\n", "neither a patient_id nor a slide_id column among name, split"),
        ("patient_id,split\n", "has no row"),
        ("", "is empty; add a header such as patient_id,split"),
    ],
)
def test_invalid_tables_are_one_line_errors(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(HistosynthError, match=message) as caught:
        table(tmp_path, text).assign(SLIDES, all_slides=SLIDES)
    assert "\n" not in str(caught.value)
    assert "split.csv" in str(caught.value)


@given(
    patients=st.dictionaries(st.text("abc", min_size=1, max_size=4), st.sampled_from("ab"), min_size=1),
    rng=st.randoms(use_true_random=False),
)
def test_each_patient_gets_the_split_of_the_table(patients: dict[str, str], rng: Any) -> None:
    expected = {patient: rng.choice(["train", "held_out"]) for patient in patients}
    slides = {f"{patient}-{n}": patient for patient in patients for n in range(2)}
    rows = [
        SplitRow(line=n, name=f"{patient}-{n % 2}" if n % 3 else patient, is_slide=bool(n % 3), split=name)
        for n, (patient, name) in enumerate(expected.items(), 2)
    ]
    assert SplitTable(path=Path("x"), rows=tuple(rows)).assign(slides, all_slides=slides) == expected


def test_the_store_follows_and_records_the_table(draw_cohort: Any, small: PatchSettings, tmp_path: Path) -> None:
    cohort, split = draw_cohort(3), tmp_path / "split.csv"
    split.write_text("patient_id,split\nP0,train\nP1,test\nP2,test\nP7,train\n")
    given = {**cohort.inputs, "split_table": split, "workers": 1, "progress": False}
    result = extract(given.pop("slides"), out=tmp_path / "store", settings=small, **given)
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_text())
    assert manifest["patients"] == {"train": ["P0"], "held_out": ["P1", "P2"]}
    assert manifest["split"] == {"by": "split table", "file": "split.csv", "rows": 4, "without_slide": ["P7"]}
    assert result.split_without_slide == ("P7",)
