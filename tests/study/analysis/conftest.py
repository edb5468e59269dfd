"""Readings for tests of the analysis: of the tiny study answered through its rules, and simulated."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from histosynth.study.analysis.readings import Reading, Readings
from histosynth.study.records.exchange import Answer


def answer_all(study: Any, number: int, *, but: int = 0) -> None:
    """Let a reader answer all but the last few presentations: "synthetic" always, more surely each time."""
    reader = study.answers.reader_by_token(study.tokens[number], address="127.0.0.1")
    assert reader is not None
    study.answers.consent(reader, address="127.0.0.1")
    for given in range(7 - but):
        step = study.answers.next_step(reader)
        assert step is not None
        answer = Answer(said="synthetic", confidence=1 + given % 5, seconds=2.0 + given, comment=f"=comment {given}")
        study.answers.store(reader, step.presentation_id, answer, address="127.0.0.1")


@pytest.fixture
def answered(tiny_study: Any) -> Any:
    """The tiny study with all readings given."""
    for number in range(2):
        answer_all(tiny_study, number)
    return tiny_study


@pytest.fixture
def half_answered(tiny_study: Any) -> Any:
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
