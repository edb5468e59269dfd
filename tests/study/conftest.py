"""A small study for tests of the service layer and of the page: four main cases, two of practice, one repeat."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from histosynth.patches.part import encode_png
from histosynth.study.answers import Answer, Answers
from histosynth.study.database import (
    Case,
    Database,
    Picture,
    Presentation,
    Reader,
    Study,
    now,
    open_study,
    url_in,
)
from histosynth.study.readings import Reading, Readings
from histosynth.study.tokens import hash_token, new_id, new_token


@dataclass(frozen=True, kw_only=True)
class TinyStudy:
    """Where it lies, and what the readers' links hold."""

    path: Path
    database: Database
    answers: Answers
    tokens: list[str]

    @property
    def url(self) -> str:
        return url_in(self.path)


def fill(database: Database, *, readers: int, cases: int, practice: int, repeats: int) -> list[str]:
    """Write a study; the tokens of its readers."""
    rng = np.random.default_rng(0)
    tokens = [new_token() for _ in range(readers)]
    database.create_tables()
    with database.writing() as session:
        settings = {"patch_px": 32, "mpp": 0.5}
        session.add(
            Study(id=1, title="A study", created_at=now(), seed=0, margin=0.1, alpha=0.05, settings=settings,
                  organizer_hash=None)
        )  # fmt: skip
        shown: dict[str, list[str]] = {"practice": [], "main": []}
        for number in range(practice + cases):
            part, truth = "practice" if number < practice else "main", ("real", "synthetic")[number % 2]
            case = Case(case_id=new_id(), part=part, label="ab"[number // 2 % 2], truth=truth,
                        source="real" if truth == "real" else "run", patch_id=f"patch_{number}",
                        patient_id=f"patient_{number}" if truth == "real" else None)  # fmt: skip
            session.add(case)
            session.flush()
            image = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            session.add(Picture(case_id=case.case_id, png=encode_png(image)))
            shown[part].append(case.case_id)
        for number, token in enumerate(tokens, 1):
            session.add(
                Reader(reader_id=number, name=f"Reader {number}", token_hash=hash_token(token),
                       expires_at=now(days=1), revoked_at=None, consented_at=None, finished_at=None)
            )  # fmt: skip
            session.flush()
            order = [*shown["practice"], *shown["main"], *shown["main"][:repeats]]
            for position, case_id in enumerate(order):
                part, is_repeat = "practice" if position < practice else "main", position >= practice + cases
                session.add(Presentation(presentation_id=new_id(), reader_id=number, position=position,
                                         case_id=case_id, part=part, is_repeat=is_repeat))  # fmt: skip
    return tokens


@pytest.fixture
def tiny_study(tmp_path: Path) -> TinyStudy:
    """Two readers, two practice cases, four main cases, one repeat; nobody has consented yet."""
    path = tmp_path / "study"
    path.mkdir()
    tokens = fill(Database(url_in(path)), readers=2, cases=4, practice=2, repeats=1)
    database = open_study(path)
    return TinyStudy(path=path, database=database, answers=Answers(database), tokens=tokens)


@pytest.fixture
def many_cases(tmp_path: Path) -> TinyStudy:
    """One reader with 400 cases."""
    path = tmp_path / "study"
    path.mkdir()
    tokens = fill(Database(url_in(path)), readers=1, cases=400, practice=0, repeats=0)
    database = open_study(path)
    return TinyStudy(path=path, database=database, answers=Answers(database), tokens=tokens)


def answer_all(study: TinyStudy, number: int, *, but: int = 0) -> None:
    """Let a reader answer all but the last few presentations: "synthetic" always, more surely each time."""
    reader = study.answers.reader_of(study.tokens[number], address="127.0.0.1")
    assert reader is not None
    study.answers.consent(reader, address="127.0.0.1")
    for given in range(7 - but):
        step = study.answers.next_step(reader)
        assert step is not None
        answer = Answer(said="synthetic", confidence=1 + given % 5, seconds=2.0 + given, comment=f"=comment {given}")
        study.answers.store(reader, step.presentation_id, answer, address="127.0.0.1")


@pytest.fixture
def answered(tiny_study: TinyStudy) -> TinyStudy:
    """The tiny study with all readings given."""
    for number in range(2):
        answer_all(tiny_study, number)
    return tiny_study


@pytest.fixture
def half_answered(tiny_study: TinyStudy) -> TinyStudy:
    """The tiny study, where Reader 2 has two readings to give."""
    answer_all(tiny_study, 0)
    answer_all(tiny_study, 1, but=2)
    return tiny_study


def simulated(
    readers: int = 3,
    cases: int = 48,
    *,
    skill: float = 0.0,
    generators: tuple[str, ...] = ("unet",),
    repeats: int = 6,
    seed: int = 0,
) -> Readings:
    """Readings of readers who are right with log odds `skill`, and surer of real patches; three labels."""
    rng = np.random.default_rng(seed)
    facts = []
    for i in range(cases):
        truth, number = ("real", "synthetic")[i % 2], i // 2
        source = "real" if truth == "real" else generators[number % len(generators)]
        facts.append({
            "case": f"{rng.integers(1 << 32):08x}", "label": "abc"[number // len(generators) % 3], "truth": truth,
            "source": source, "patch_id": f"{source}_{number // len(generators)}",
            "patient_id": f"P{number % 7}" if truth == "real" else None,
        })  # fmt: skip
    found = []
    for r in range(readers):
        order = [(i, False) for i in rng.permutation(cases)] + [(i, True) for i in rng.permutation(cases)[:repeats]]
        for position, (i, is_repeat) in enumerate(order):
            truth = facts[i]["truth"]
            right = rng.random() < 1 / (1 + np.exp(-skill))
            found.append(
                Reading(
                    **facts[i],
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
    return Readings(title="A study & more", margin=0.1, alpha=0.05, readings=found)


@pytest.fixture
def make_readings() -> Callable[..., Readings]:
    """`simulated`."""
    return simulated
