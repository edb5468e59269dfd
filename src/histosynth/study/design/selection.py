"""Which candidates become cases: so many of each cell, in the order in which they stand, their pictures blinded."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tqdm import tqdm

from histosynth.config import StudySettings
from histosynth.errors import HistosynthError
from histosynth.normalization.staining import StainNormalization, build_normalization
from histosynth.study.design.candidates import Candidate, Candidates
from histosynth.study.design.design import REAL, Cell, derive_rng, main_quota, max_balanced_cases, practice_quota
from histosynth.study.design.pictures import BlindingError, blinded_png
from histosynth.study.records.tokens import new_id


@dataclass(frozen=True, kw_only=True)
class SelectedCase:
    """A patch that has become a case."""

    case_id: str
    part: str
    candidate: Candidate
    png: bytes


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The cases of a study.

    Attributes:
        cases: all of them.
        left_out: how many patches could not go through the same steps as the others, by cell and reason.
    """

    cases: Sequence[SelectedCase]
    left_out: Mapping[str, int]


def study_staining(settings: StudySettings) -> StainNormalization | None:
    """The stain normalization that all pictures go through; None: none.

    Raises:
        HistosynthError: no such method, or one that changes nothing.
    """
    if not settings.normalize:
        return None
    staining = build_normalization(settings.normalize, per="patch")
    if staining.normalizer.target is None:
        raise HistosynthError(f"--normalize {settings.normalize} changes no colors; name another, or leave it out")
    return staining


def select_cases(found: Candidates, *, settings: StudySettings, progress: bool) -> Selection:
    """Choose the cases, main ones first, so that practice takes none of theirs.

    Raises:
        HistosynthError: too few patches for so many cases, or a number that cannot be balanced.
    """
    quotas, staining = _quotas(found, settings), study_staining(settings)
    left_out: Counter[str] = Counter()
    cases: list[SelectedCase] = []
    total = sum(sum(quota.values()) for quota in quotas.values())
    with tqdm(total=total, desc="pictures", unit="img", disable=not progress) as bar:
        for cell, order in found.orders.items():
            rest = iter(order)
            for part, quota in quotas.items():
                for _ in range(quota[cell]):
                    candidate, png = _next(rest, cell, staining=staining, settings=settings, left_out=left_out)
                    cases.append(SelectedCase(case_id=new_id(), part=part, candidate=candidate, png=png))
                    bar.update()
    return Selection(cases=cases, left_out=left_out)


def _quotas(found: Candidates, settings: StudySettings) -> dict[str, dict[Cell, int]]:
    """Cases of each cell, by part."""
    labels, generators = found.labels, found.generators
    main = main_quota(settings.cases, labels=labels, generators=generators)
    rng = derive_rng(settings.seed, "practice")
    practice = practice_quota(settings.practice, labels=labels, generators=generators, rng=rng)
    available = {cell: len(order) for cell, order in found.orders.items()}
    for cell, there in available.items():
        if there < main[cell] + practice[cell]:
            most = max_balanced_cases(available, practice=practice, labels=labels, generators=generators)
            raise HistosynthError(
                f"{there} patches of {_said(cell)}, but {settings.cases} cases need {main[cell]} of them and "
                f"{practice[cell]} for practice; give --cases {most} at most, or more patches"
                if most
                else f"{there} patches of {_said(cell)}: too few for any balanced study; give more patches"
            )
    return {"main": main, "practice": practice}


def _said(cell: Cell) -> str:
    label, source = cell
    what = "held-out real tissue" if source == REAL else source
    return f"{what}, {label}" if label else what


def _next(
    rest: Iterator[Candidate],
    cell: Cell,
    *,
    staining: StainNormalization | None,
    settings: StudySettings,
    left_out: Counter[str],
) -> tuple[Candidate, bytes]:
    """The next patch of a cell whose picture can be made; those that cannot be are counted."""
    for candidate in rest:
        try:
            return candidate, blinded_png(candidate.image(), staining=staining, jpeg_history=settings.jpeg_history)
        except BlindingError as reason:
            left_out[f"{_said(cell)}: {reason}"] += 1
    raise HistosynthError(
        f"too few patches of {_said(cell)} can be normalized by {settings.normalize} ({left_out.total()} cannot); give "
        "fewer --cases, or more patches"
    )
