"""Readings for other programs: CSV, Parquet, and the input of iMRMC.

iMRMC (Gallas et al.; DIDSR/iMRMC, CC0) compares areas under the ROC curve of many readers and cases by U-statistics.
Its `.imrmc` file has free text, a line `BEGIN DATA:`, and then rows `readerID,caseID,modalityID,score`. The truth of
each case is a separate row, with reader and modality `truth` and 0 or 1 (`Rpackage/iMRMC/R/doAUCMRMC.R` and
`Rpackage/iMRMC/tests/testthat/input.imrmc` there; its older programs also accept -1 as the reader of truth).

Here 1 is synthetic, the score is signed confidence, and each generator is a modality: its own patches and the real
patches of the study, which all modalities share. iMRMC accepts one reading per case, so repeats are left out. Its rows
are separated by commas without quotes, so commas in names become spaces.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from histosynth.errors import HistosynthError
from histosynth.rundir import atomic_write, write_text
from histosynth.study.analysis.readings import COLUMNS, Reading, Readings
from histosynth.study.analysis.readings_csv import write_csv

ExportFormat = Literal["csv", "parquet", "imrmc"]
FORMATS: dict[str, ExportFormat] = {"csv": "csv", "parquet": "parquet", "imrmc": "imrmc"}


def format_of(out: Path) -> ExportFormat:
    """Return the format that a file's name ends in.

    Raises:
        HistosynthError: the ending is none of them.
    """
    ending = out.suffix.removeprefix(".").lower()
    if ending not in FORMATS:
        raise HistosynthError(f"--out {out} does not end in .csv, .parquet or .imrmc; choose the format with --to")
    return FORMATS[ending]


def export(readings: Readings, out: Path, *, file_format: ExportFormat) -> None:
    """Write the readings to the file `out`, replacing an existing one.

    Raises:
        HistosynthError: `out` is a directory, or real or synthetic cases are missing, which iMRMC needs.
    """
    if out.is_dir():
        raise HistosynthError(f"--out {out} is a directory; pass the name of a file")
    out.parent.mkdir(parents=True, exist_ok=True)
    if file_format == "csv":
        write_csv(out, readings.readings)
    elif file_format == "parquet":
        _write_parquet(out, readings.readings)
    else:
        write_text(out, imrmc(readings))


def imrmc(readings: Readings) -> str:
    """Return the text of an `.imrmc` file.

    Raises:
        HistosynthError: real or synthetic cases are missing.
    """
    first = [reading for reading in readings.readings if not reading.is_repeat]
    truth = {_plain(reading.case): int(reading.truth == "synthetic") for reading in first}
    generators = sorted({reading.source for reading in first} - {"real"})
    if set(truth.values()) != {0, 1}:
        raise HistosynthError("iMRMC needs both real and synthetic cases, but the readings are of only one kind")
    rows = [f"truth,{case},truth,{kind}" for case, kind in sorted(truth.items())]
    for generator in generators:
        rows += [
            f"{_plain(reading.reader)},{_plain(reading.case)},{_plain(generator)},{reading.score}"
            for reading in first
            if reading.source in ("real", generator)
        ]
    number_of_readers = len({reading.reader for reading in first})
    header = [
        f"{readings.title}: a reader study of histosynth".replace("\n", " "),
        "Truth: 0 real, 1 synthetic. Score: confidence 1 to 5, negative where the reader said real.",
        f"NR: {number_of_readers}",
        f"N0: {sum(kind == 0 for kind in truth.values())}",
        f"N1: {sum(kind == 1 for kind in truth.values())}",
        f"NM: {len(generators)}",
        "BEGIN DATA:",
    ]
    return "\n".join([*header, *rows]) + "\n"


def _plain(name: str) -> str:
    return " ".join(name.replace(",", " ").split())


def _write_parquet(path: Path, readings: Sequence[Reading]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"is_repeat": pa.bool_(), "position": pa.int32(), "confidence": pa.int8(), "seconds": pa.float64()}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in COLUMNS])
    table = pa.Table.from_pylist([asdict(reading) for reading in readings], schema=schema)
    with atomic_write(path) as file:
        pq.write_table(table, file)
