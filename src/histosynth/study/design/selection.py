"""Select the cases: the required number from each cell, in the order of its candidates, with blinded pictures."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tqdm import tqdm

from histosynth.config import StudySettings
from histosynth.errors import HistosynthError
from histosynth.metrics.uncertainty import Interval
from histosynth.normalization.staining import StainNormalization, build_normalization
from histosynth.study.design.candidates import Candidate, Candidates
from histosynth.study.design.design import REAL, Cell, derive_rng, main_quota, max_balanced_cases, practice_quota
from histosynth.study.design.pictures import BlindingError, blinded_png
from histosynth.study.design.pixel_check import check_pixels
from histosynth.study.records.tokens import new_id


@dataclass(frozen=True, kw_only=True)
class SelectedCase:
    """A candidate that became a case."""

    case_id: str
    part: str
    candidate: Candidate
    png: bytes


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The cases of a study.

    Attributes:
        cases: all of them.
        left_out: number of patches that could not go through the same steps as the others, by cell and reason.
        pixel_auc: how well a program tells real from synthetic pictures (`pixel_check`); None if there are too few.
    """

    cases: Sequence[SelectedCase]
    left_out: Mapping[str, int]
    pixel_auc: Interval | None


def study_staining(settings: StudySettings) -> StainNormalization | None:
    """Return the stain normalization that all pictures go through; None if there is none.

    Raises:
        HistosynthError: the method does not exist, or changes nothing.
    """
    if not settings.normalize:
        return None
    staining = build_normalization(settings.normalize, per="patch")
    if staining.normalizer.target is None:
        raise HistosynthError(
            f"--normalize {settings.normalize} does not change colors; choose another method, or omit the option"
        )
    return staining


def select_cases(candidates: Candidates, *, settings: StudySettings, progress: bool) -> Selection:
    """Select the cases, main cases first, so that practice takes none of theirs.

    Raises:
        HistosynthError: the patches do not suffice, or the number of cases cannot be balanced.
    """
    quotas, staining = _quotas(candidates, settings), study_staining(settings)

    def blind(candidate: Candidate) -> bytes:
        rng = derive_rng(settings.seed, "crop", *candidate.cell, candidate.patch_id) if settings.random_crop else None
        return blinded_png(candidate.image(), staining=staining, crop=rng, jpeg_history=settings.jpeg_history)

    left_out: Counter[str] = Counter()
    cases: list[SelectedCase] = []
    total = sum(sum(quota.values()) for quota in quotas.values())
    with tqdm(total=total, desc="pictures", unit="img", disable=not progress) as bar:
        for cell, order in candidates.orders.items():
            remaining = iter(order)
            for part, quota in quotas.items():
                for _ in range(quota[cell]):
                    candidate, png = _next(remaining, cell, blind=blind, settings=settings, left_out=left_out)
                    cases.append(SelectedCase(case_id=new_id(), part=part, candidate=candidate, png=png))
                    bar.update()
    pixel_auc = check_pixels(candidates, settings=settings, blind=blind)
    return Selection(cases=cases, left_out=left_out, pixel_auc=pixel_auc)


def _quotas(candidates: Candidates, settings: StudySettings) -> dict[str, dict[Cell, int]]:
    """Return the number of cases from each cell, by part."""
    labels, generators = candidates.labels, candidates.generators
    main = main_quota(settings.cases, labels=labels, generators=generators)
    rng = derive_rng(settings.seed, "practice")
    practice = practice_quota(settings.practice, labels=labels, generators=generators, rng=rng)
    available = {cell: len(order) for cell, order in candidates.orders.items()}
    for cell, count in available.items():
        if count < main[cell] + practice[cell]:
            most = max_balanced_cases(available, practice=practice, labels=labels, generators=generators)
            raise HistosynthError(
                f"{count} patches of {_cell_name(cell)}, but {settings.cases} cases need {main[cell]} of them, and "
                f"practice {practice[cell]}; pass --cases {most} or fewer, or provide more patches"
                if most
                else f"{count} patches of {_cell_name(cell)}: too few for any balanced study; provide more patches"
            )
    return {"main": main, "practice": practice}


def _cell_name(cell: Cell) -> str:
    label, source = cell
    name = "held-out real tissue" if source == REAL else source
    return f"{name}, {label}" if label else name


def _next(
    remaining: Iterator[Candidate],
    cell: Cell,
    *,
    blind: Callable[[Candidate], bytes],
    settings: StudySettings,
    left_out: Counter[str],
) -> tuple[Candidate, bytes]:
    """Return the next candidate of a cell whose picture can be blinded; count those that cannot."""
    for candidate in remaining:
        try:
            return candidate, blind(candidate)
        except BlindingError as error:
            left_out[f"{_cell_name(cell)}: {error}"] += 1
    raise HistosynthError(
        f"too few patches of {_cell_name(cell)} can be normalized by {settings.normalize} ({left_out.total()} cannot); "
        "pass fewer --cases, or provide more patches"
    )


def patient_warnings(cases: Iterable[SelectedCase]) -> list[str]:
    """Return a warning if the main real cases come from fewer patients than cases; unnamed patients are not counted."""
    real = [case.candidate for case in cases if case.part == "main" and case.candidate.cell[1] == REAL]
    patients = {candidate.patient_id for candidate in real} - {None}
    if not patients or len(patients) == len(real):
        return []
    return [
        f"The {len(real)} real cases come from {len(patients)} patients. Cases of one patient count together: "
        f"`histosynth study plan --patients {len(patients)}` computes what this costs."
    ]
