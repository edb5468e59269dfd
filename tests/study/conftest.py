"""A small study with four main cases, two practice cases and one repeat, and readings for tests of its analysis."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import create_engine, select

from histosynth.store.png import encode_png
from histosynth.study.analysis import readings as analysis
from histosynth.study.analysis.declared import Declared
from histosynth.study.records.answers import Answers
from histosynth.study.records.database import Database, open_study, sqlite_url
from histosynth.study.records.exchange import Answer
from histosynth.study.records.tables import Base, Case, Picture, Presentation, Reader, Reading, Study, now
from histosynth.study.records.tokens import hash_token, new_id, new_token

DECLARED = Declared(margin=0.1, area_margin=0.14, alpha=0.05)


@dataclass(frozen=True, kw_only=True)
class TinyStudy:
    """A study: its directory, its database, its rules, and the tokens of its readers' links."""

    path: Path
    database: Database
    answers: Answers
    tokens: list[str]

    @property
    def url(self) -> str:
        return self.database.url.render_as_string(hide_password=False)

    def readings(self, reader_id: int = 1) -> list[Reading]:
        """Return a reader's readings in the order of presentation."""
        with self.database.read_session() as session:
            query = select(Reading).join(Presentation).where(Presentation.reader_id == reader_id)
            return list(session.scalars(query.order_by(Presentation.position)))


def write_study(database: Database, *, readers: int, cases: int, practice: int, repeats: int) -> list[str]:
    """Write a study to the database and return its readers' tokens."""
    rng = np.random.default_rng(0)
    tokens = [new_token() for _ in range(readers)]
    database.create_tables()
    with database.write_session() as session:
        settings = {"patch_px": 32, "mpp": 0.5, "base_url": "http://127.0.0.1:8000"}
        session.add(
            Study(id=1, title="A study", created_at=now(), seed=0, margin=0.1, area_margin=0.14, alpha=0.05,
                  settings=settings, organizer_hash=None)
        )  # fmt: skip
        # Cases and their pictures: real and synthetic alternate.
        case_ids: dict[str, list[str]] = {"practice": [], "main": []}
        for number in range(practice + cases):
            part, truth = "practice" if number < practice else "main", ("real", "synthetic")[number % 2]
            case = Case(case_id=new_id(), part=part, label="ab"[number // 2 % 2], truth=truth,
                        source="real" if truth == "real" else "run", patch_id=f"patch_{number}",
                        patient_id=f"patient_{number}" if truth == "real" else None)  # fmt: skip
            session.add(case)
            session.flush()
            image = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            session.add(Picture(case_id=case.case_id, png=encode_png(image)))
            case_ids[part].append(case.case_id)
        # Readers and their presentations: all in the same order.
        for number, token in enumerate(tokens, 1):
            session.add(
                Reader(reader_id=number, name=f"Reader {number}", token_hash=hash_token(token),
                       expires_at=now(days=1), revoked_at=None, consented_at=None, finished_at=None)
            )  # fmt: skip
            session.flush()
            order = [*case_ids["practice"], *case_ids["main"], *case_ids["main"][:repeats]]
            for position, case_id in enumerate(order):
                part, is_repeat = "practice" if position < practice else "main", position >= practice + cases
                session.add(Presentation(presentation_id=new_id(), reader_id=number, position=position,
                                         case_id=case_id, part=part, is_repeat=is_repeat))  # fmt: skip
    return tokens


def write_tiny_study(path: Path, *, readers: int, cases: int, practice: int = 0, repeats: int = 0) -> TinyStudy:
    """Make a study in SQLite, or in the database that HISTOSYNTH_TEST_DATABASE names, which is emptied first."""
    path.mkdir()
    url = os.environ.get("HISTOSYNTH_TEST_DATABASE", sqlite_url(path))
    Base.metadata.drop_all(create_engine(url))
    tokens = write_study(Database(url), readers=readers, cases=cases, practice=practice, repeats=repeats)
    database = open_study(path, database=url)
    return TinyStudy(path=path, database=database, answers=Answers(database), tokens=tokens)


@pytest.fixture
def make_study() -> Callable[..., TinyStudy]:
    """Return `write_tiny_study`."""
    return write_tiny_study


@pytest.fixture
def tiny_study(tmp_path: Path) -> TinyStudy:
    """Two readers, two practice cases, four main cases, one repeat; no reader has consented yet."""
    return write_tiny_study(tmp_path / "study", readers=2, cases=4, practice=2, repeats=1)


@pytest.fixture
def many_cases(tmp_path: Path) -> TinyStudy:
    """One reader with 400 cases."""
    return write_tiny_study(tmp_path / "study", readers=1, cases=400)


def answer_all(study: TinyStudy, number: int, *, remaining: int = 0) -> None:
    """Answer all but the last few presentations of a reader: always "synthetic", with increasing confidence."""
    reader = study.answers.reader_by_token(study.tokens[number], address="127.0.0.1")
    assert reader is not None
    study.answers.consent(reader, address="127.0.0.1")
    for position in range(7 - remaining):
        step = study.answers.next_step(reader)
        assert step is not None
        answer = Answer(
            said="synthetic", confidence=1 + position % 5, seconds=2.0 + position, comment=f"=comment {position}"
        )
        study.answers.store(reader, step.presentation_id, answer, address="127.0.0.1")


@pytest.fixture
def answered(tiny_study: TinyStudy) -> TinyStudy:
    """The tiny study with all readings given."""
    for number in range(2):
        answer_all(tiny_study, number)
    return tiny_study


@pytest.fixture
def half_answered(tiny_study: TinyStudy) -> TinyStudy:
    """The tiny study in which two readings of Reader 2 are missing."""
    answer_all(tiny_study, 0)
    answer_all(tiny_study, 1, remaining=2)
    return tiny_study


def simulate_readings(
    readers: int = 3,
    cases: int = 48,
    *,
    skill: float = 0.0,
    generators: tuple[str, ...] = ("unet",),
    repeats: int = 6,
    seed: int = 0,
) -> analysis.Readings:
    """Simulate readers who are right with log odds `skill` and more confident on real patches; three labels."""
    rng = np.random.default_rng(seed)
    cases_facts: list[dict[str, Any]] = []
    for i in range(cases):
        truth, number = ("real", "synthetic")[i % 2], i // 2
        source = "real" if truth == "real" else generators[number % len(generators)]
        cases_facts.append({
            "case": f"{rng.integers(1 << 32):08x}", "label": "abc"[number // len(generators) % 3], "truth": truth,
            "source": source, "patch_id": f"{source}_{number // len(generators)}",
            "patient_id": f"P{number % 7}" if truth == "real" else None,
        })  # fmt: skip
    readings = []
    for r in range(readers):
        order = [(i, False) for i in rng.permutation(cases)] + [(i, True) for i in rng.permutation(cases)[:repeats]]
        for position, (i, is_repeat) in enumerate(order):
            truth = cases_facts[i]["truth"]
            right = rng.random() < 1 / (1 + np.exp(-skill))
            readings.append(
                analysis.Reading(
                    **cases_facts[i],
                    reader=f"Reader {r + 1}",
                    is_repeat=is_repeat,
                    position=position,
                    said=truth if right else {"real": "synthetic", "synthetic": "real"}[truth],
                    confidence=int(np.clip(round(rng.normal(3.4 if truth == "real" else 2.6, 1.2)), 1, 5)),
                    seconds=float(rng.lognormal(2, 0.5)),
                    answered_at="2026-01-01T00:00:00+00:00",
                    comment="<b>smeared</b>" if i == 1 else "",
                )
            )
    return analysis.Readings(title="A study & more", declared=DECLARED, readings=readings)


@pytest.fixture
def make_readings() -> Callable[..., analysis.Readings]:
    """Return `simulate_readings`."""
    return simulate_readings
