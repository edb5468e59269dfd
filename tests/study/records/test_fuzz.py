"""Damaged study databases and hostile values: each ends in success or a `HistosynthError`, in bounded time."""

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest

from histosynth.study.analysis.export import export
from histosynth.study.analysis.unblind import unblind
from histosynth.study.app.state import create_state
from histosynth.study.records.backup import backup
from histosynth.study.records.database import FILE, open_study
from histosynth.study.records.links import create_organizer_link, extend_link, new_link, revoke_link
from limits import attempt, bounded

pytestmark = [
    pytest.mark.skipif("HISTOSYNTH_TEST_DATABASE" in os.environ, reason="for SQLite only"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
HOSTILE = [
    None, "", "x", "real", "\x00", "\ud7ff", "é" * 5000, b"\xff\xfe", -1, 0, 7, 2**62, 1e308, float("inf"), "[" * 5000,
    "{}", '{"base_url": 3, "pixel_auc": {"value": "x"}}', "2026-01-01", "'; DROP TABLE reading; --", "x" * 10**6,
]  # fmt: skip


def use(study: Path) -> None:
    """Do what the commands do with a study."""
    copy = study.with_name("backup.db")
    copy.unlink(missing_ok=True)
    readings = unblind(study, interim=True)
    export(readings, study.with_name("readings.csv"), file_format="csv")
    export(readings, study.with_name("readings.parquet"), file_format="parquet")
    with open_study(study) as database:
        create_state(database)
        create_organizer_link(database, replace=True)
        new_link(database, "1", days=1)
        extend_link(database, "1", days=2)
        revoke_link(database, "2")
    backup(study, copy)


def is_usable(study: Path, number: int) -> bool:
    with bounded(f"database {number}"):
        return attempt(lambda: use(study)) is None


@pytest.fixture
def original(answered) -> bytes:
    answered.database.close()
    return (answered.path / FILE).read_bytes()


def write(folder: Path, content: bytes) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / FILE).write_bytes(content)
    return folder


def test_damaged_files(original, tmp_path):
    rng = np.random.default_rng(0)
    used = 0
    for number in range(250):
        content = bytearray(original)
        if number % 5 == 0:
            content = content[: rng.integers(len(content))]
        for at in rng.integers(len(content) or 1, size=2 ** rng.integers(0, 9)):
            if at < len(content):
                content[at] = rng.integers(256)
        used += is_usable(write(tmp_path / "damaged", bytes(content)), number)
    assert 0 < used < 250


def test_hostile_values(original, tmp_path):
    rng = np.random.default_rng(1)
    used = 0
    for number in range(250):
        study = write(tmp_path / "hostile", original)
        with closing(sqlite3.connect(study / FILE)) as file:
            tables = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            table = tables[rng.integers(len(tables))]
            columns = [row[1] for row in file.execute(f'PRAGMA table_info("{table}")')]
            column, value = columns[rng.integers(len(columns))], HOSTILE[rng.integers(len(HOSTILE))]
            with suppress(sqlite3.IntegrityError, UnicodeEncodeError):  # what SQLite itself does not store
                file.execute(f'UPDATE OR IGNORE "{table}" SET "{column}" = ?', (value,))
            file.commit()
        used += is_usable(study, number)
    assert 0 < used < 250
