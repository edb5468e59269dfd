"""The database keeps every acknowledged answer, and rejects contradictory rows."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import delete, select, text
from sqlalchemy.exc import IntegrityError, StatementError

from histosynth.errors import HistosynthError
from histosynth.study.records.answers import Answer
from histosynth.study.records.database import Database, open_study, sqlite_url
from histosynth.study.records.tables import Presentation, Reader, Reading, SchemaVersion, now

SQLITE = "HISTOSYNTH_TEST_DATABASE" not in os.environ
WRITER = """
import sys
from pathlib import Path
from histosynth.study.records.answers import Answer, Answers
from histosynth.study.records.database import open_study

url, token = sys.argv[1:]
answers = Answers(open_study(Path(), database=url))
reader = answers.reader_by_token(token, address="")
answers.consent(reader, address="")
while step := answers.next_step(reader):
    print("try", step.presentation_id, flush=True)
    answer = Answer(said="real", confidence=1 + step.number % 5, seconds=1.0)
    answers.store(reader, step.presentation_id, answer, address="")
    print("stored", step.presentation_id, flush=True)
"""


@pytest.mark.skipif(not SQLITE, reason="for SQLite only")
def test_sqlite_is_configured_for_durability(tiny_study):
    with tiny_study.database.read_session() as session:
        pragmas = {name: session.execute(text(f"PRAGMA {name}")).scalar() for name in
                   ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")}  # fmt: skip
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


def test_the_tables_reject_contradictory_rows(tiny_study):
    with tiny_study.database.read_session() as session:
        first = session.query(Presentation).filter_by(reader_id=1, position=0).one()

    def reading(presentation_id):
        return Reading(presentation_id=presentation_id, said="real", confidence=3, comment="", seconds=1.0, changes=0,
                       answered_at=now())  # fmt: skip

    def presentation(presentation_id, reader_id):
        return Presentation(presentation_id=presentation_id, reader_id=reader_id, position=0, case_id=first.case_id,
                            part="main", is_repeat=False)  # fmt: skip

    with tiny_study.database.write_session() as session:
        session.add(reading(first.presentation_id))
    for row in (
        reading(first.presentation_id),  # a second answer
        reading("never shown"),
        Presentation(presentation_id="x", reader_id=1, position=0, case_id=first.case_id, part="main", is_repeat=False),
        Presentation(
            presentation_id="y", reader_id=99, position=0, case_id=first.case_id, part="main", is_repeat=False
        ),
        Reader(reader_id=9, name="Reader 1", token_hash="z", expires_at=now()),
    ):
        with pytest.raises(IntegrityError), tiny_study.database.write_session() as session:
            session.add(row)


def test_a_failed_write_is_rolled_back(tiny_study):
    def fail():
        with tiny_study.database.write_session() as session:
            session.get_one(Reader, 1).name = "Somebody"
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with tiny_study.database.read_session() as session:
        assert session.get_one(Reader, 1).name == "Reader 1"


def test_a_read_session_has_one_consistent_view_during_writes(tiny_study):
    with tiny_study.database.read_session() as session:
        assert session.get_one(Reader, 1).name == "Reader 1"
        with tiny_study.database.write_session() as other:
            other.get_one(Reader, 1).name = "Somebody"
        session.expire_all()
        assert session.get_one(Reader, 1).name == "Reader 1"
    with tiny_study.database.read_session() as session:
        assert session.get_one(Reader, 1).name == "Somebody"


@pytest.mark.slow
def test_no_acknowledged_answer_is_lost_to_kill_9(many_cases):
    """A process that reports each stored answer is killed five times. Each of them is stored, and only once."""
    acknowledged: set[str] = set()
    attempted: set[str] = set()
    for kill in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, many_cases.url, many_cases.tokens[0]],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout
        for number, line in enumerate(process.stdout):
            word, presentation = line.split()
            (acknowledged if word == "stored" else attempted).add(presentation)
            if number == 9 + 6 * kill:
                os.kill(process.pid, signal.SIGKILL)
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL
        with many_cases.database.read_session() as session:
            stored = session.scalars(select(Reading.presentation_id)).all()
        assert len(stored) == len(set(stored))
        assert acknowledged <= set(stored) <= attempted
    assert len(acknowledged) > 40
    if SQLITE:
        file = sqlite3.connect(many_cases.path / "study.db")
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        file.close()


def test_a_reader_who_withdraws_can_be_removed(tiny_study):
    for number in (0, 1):
        reader = tiny_study.answers.reader_by_token(tiny_study.tokens[number], address="")
        tiny_study.answers.consent(reader, address="")
        while step := tiny_study.answers.next_step(reader):
            answer = Answer(said="real", confidence=3, seconds=1.0)
            tiny_study.answers.store(reader, step.presentation_id, answer, address="")
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "reader-study.md").read_text("utf-8")
    with tiny_study.database.write_session() as session:
        session.execute(text(page.partition("```sql\n")[2].partition(";")[0]))
    assert [(reader.practice, reader.main) for reader in tiny_study.answers.progress()] == [(2, 5), (0, 0)]


def test_only_a_study_can_be_opened(tmp_path: Path):
    with pytest.raises(HistosynthError, match=r"is not a study: it has no study\.db"):
        open_study(tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "study.db").write_bytes(b"no database at all" * 1000)
    with pytest.raises(HistosynthError, match="cannot be reached, or is not that of a study: file is not a database"):
        open_study(tmp_path)
    sqlite3.connect(tmp_path / "other.db").close()
    with pytest.raises(HistosynthError, match="contains no study; create one"):
        open_study(tmp_path, database=f"sqlite:///{tmp_path / 'other.db'}")
    with pytest.raises(HistosynthError, match="unable to open database file"):
        Database(sqlite_url(tmp_path / "absent")).create_tables()
    Database(f"sqlite:///{tmp_path / 'empty.db'}").create_tables()
    with pytest.raises(HistosynthError, match=r"empty\.db contains no study; create one"):
        open_study(tmp_path, database=f"sqlite:///{tmp_path / 'empty.db'}")


@pytest.mark.parametrize("version", [0, 2, None])
def test_tables_of_another_version_are_refused(tiny_study, version):
    with tiny_study.database.write_session() as session:
        session.execute(delete(SchemaVersion))
        if version is not None:
            session.add(SchemaVersion(version=version))
    theirs = "none" if version is None else version
    with pytest.raises(HistosynthError, match=f"has tables of version {theirs}, and this histosynth reads version 1"):
        tiny_study.database.require_study()
    with tiny_study.database.write_session() as session:
        session.execute(text("DROP TABLE schema_version"))  # as in studies of the first releases
    with pytest.raises(HistosynthError, match="version none"):
        tiny_study.database.require_study()


@pytest.mark.parametrize("url", ["nonsense", "mongodb://host/x", "postgresql+nonsense://host/x", ""])
def test_an_invalid_url_is_an_error_in_one_line(url, tmp_path):
    (tmp_path / "study.db").touch()
    with pytest.raises(HistosynthError, match="--database is not a database URL"):
        Database(url)


def test_a_missing_driver_is_named_without_the_password():
    with pytest.raises(HistosynthError, match="needs a driver") as error:
        Database("mysql+mysqldb://user:secret@host/study")
    assert "secret" not in str(error.value)


def test_times_are_utc_and_sort_as_text():
    moments = [now(days=days) for days in (-400, -1, 0, 0.5, 30, 4000)]
    assert moments == sorted(moments)
    assert len({len(moment) for moment in moments}) == 1
    assert all(moment.endswith("+00:00") for moment in moments)


def test_values_of_the_wrong_type_are_rejected(tiny_study):
    with pytest.raises(StatementError), tiny_study.database.write_session() as session:
        session.get_one(Reader, 1).name = object()
