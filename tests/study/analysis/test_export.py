"""Readings for other programs: what pandas and a reader of iMRMC's rules find in them."""

from pathlib import Path

import pandas as pd
import pytest

from histosynth.errors import HistosynthError
from histosynth.study.analysis.export import export, imrmc
from histosynth.study.analysis.readings import COLUMNS, Readings


def test_parquet_holds_all_columns(tmp_path: Path, make_readings) -> None:
    made = make_readings(2, 12)
    export(made, tmp_path / "new" / "r.parquet", form="parquet")
    found = pd.read_parquet(tmp_path / "new" / "r.parquet")
    assert list(found) == list(COLUMNS)
    assert found["confidence"].tolist() == [r.confidence for r in made.readings]
    assert found["is_repeat"].sum() == 12
    assert found["patient_id"].isna().sum() == sum(r.truth == "synthetic" for r in made.readings)


def rows(text: str) -> pd.DataFrame:
    lines = text.splitlines()
    start = lines.index("BEGIN DATA:") + 1
    table = pd.DataFrame([line.split(",") for line in lines[start:]], columns=["reader", "case", "modality", "score"])
    return table.astype({"score": float})


def test_imrmc_has_one_truth_a_case_and_a_modality_a_generator(make_readings) -> None:
    made = make_readings(3, 24, generators=("a", "b"))
    text = imrmc(made)
    table = rows(text)
    truth, read = table[table.reader == "truth"], table[table.reader != "truth"]
    assert (truth.modality == "truth").all()
    assert truth.case.is_unique
    assert truth.score.sum() == 12
    assert set(read.case) <= set(truth.case)
    assert not read.duplicated(["reader", "case", "modality"]).any()
    assert len(read) == 3 * 2 * (12 + 6)  # each modality: the real cases, and its own
    assert {"NR: 3", "N0: 12", "N1: 12", "NM: 2"} <= set(text.splitlines())
    first = next(r for r in made.readings if r.source == "b")
    found = read[(read.case == first.case) & (read.reader == first.reader)]
    assert found.modality.tolist() == ["b"]
    assert found.score.tolist() == [first.score]


def test_imrmc_needs_both_kinds(make_readings) -> None:
    made = make_readings(1, 12)
    real = Readings(title="", margin=None, alpha=None, readings=[r for r in made.readings if r.truth == "real"])
    with pytest.raises(HistosynthError, match="one kind only"):
        imrmc(real)


def test_a_directory_is_no_file(tmp_path: Path, make_readings) -> None:
    with pytest.raises(HistosynthError, match="is a directory"):
        export(make_readings(1, 12), tmp_path, form="csv")
