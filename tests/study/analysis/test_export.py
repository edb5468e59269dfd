"""Exported readings, checked with pandas and by the rules of iMRMC."""

from pathlib import Path

import pandas as pd
import pytest

from histosynth.errors import HistosynthError
from histosynth.study.analysis.export import export, imrmc
from histosynth.study.analysis.readings import COLUMNS, Readings


def test_parquet_holds_all_columns(tmp_path: Path, make_readings) -> None:
    readings = make_readings(2, 12)
    export(readings, tmp_path / "new" / "r.parquet", file_format="parquet")
    table = pd.read_parquet(tmp_path / "new" / "r.parquet")
    assert list(table) == list(COLUMNS)
    assert table["confidence"].tolist() == [r.confidence for r in readings.readings]
    assert table["is_repeat"].sum() == 12
    assert table["patient_id"].isna().sum() == sum(r.truth == "synthetic" for r in readings.readings)


def rows(text: str) -> pd.DataFrame:
    lines = text.splitlines()
    start = lines.index("BEGIN DATA:") + 1
    table = pd.DataFrame([line.split(",") for line in lines[start:]], columns=["reader", "case", "modality", "score"])
    return table.astype({"score": float})


def test_imrmc_has_one_truth_per_case_and_one_modality_per_generator(make_readings) -> None:
    readings = make_readings(3, 24, generators=("a", "b"))
    text = imrmc(readings)
    table = rows(text)
    truth, scores = table[table.reader == "truth"], table[table.reader != "truth"]
    assert (truth.modality == "truth").all()
    assert truth.case.is_unique
    assert truth.score.sum() == 12
    assert set(scores.case) <= set(truth.case)
    assert not scores.duplicated(["reader", "case", "modality"]).any()
    assert len(scores) == 3 * 2 * (12 + 6)  # each modality: the real cases and its own
    assert {"NR: 3", "N0: 12", "N1: 12", "NM: 2"} <= set(text.splitlines())
    first = next(r for r in readings.readings if r.source == "b")
    row = scores[(scores.case == first.case) & (scores.reader == first.reader)]
    assert row.modality.tolist() == ["b"]
    assert row.score.tolist() == [first.score]


def test_imrmc_needs_both_kinds(make_readings) -> None:
    readings = make_readings(1, 12)
    real = Readings(title="", declared=None, readings=[r for r in readings.readings if r.truth == "real"])
    with pytest.raises(HistosynthError, match="only one kind"):
        imrmc(real)


def test_a_directory_is_rejected(tmp_path: Path, make_readings) -> None:
    with pytest.raises(HistosynthError, match="is a directory"):
        export(make_readings(1, 12), tmp_path, file_format="csv")
