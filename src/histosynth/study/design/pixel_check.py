"""How well a program tells real from synthetic pictures by traces in pixels, after blinding.

A logistic regression on `pixel_traces` is cross-validated: real pictures of one patient are in one fold, so that it
cannot profit from recognizing a patient. The area under the ROC curve of its log odds, on pictures that it was not
trained on, is 0.5 if it only guesses. It is a lower bound: a larger program with more pictures may do better.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice, zip_longest

import numpy as np
from numpy.typing import NDArray

from histosynth.config import StudySettings
from histosynth.metrics.classifier import LabeledFeatures, fit_classifier
from histosynth.metrics.uncertainty import Interval
from histosynth.store.png import decode_png
from histosynth.study.design.candidates import Candidate, Candidates
from histosynth.study.design.design import REAL, SYNTHETIC, derive_rng
from histosynth.study.design.pictures import BlindingError
from histosynth.study.design.pixel_traces import pixel_traces
from histosynth.study.statistics.area import pooled_area

MAX_PICTURES = 250
"""Pictures per side."""
MIN_PICTURES, MIN_PX = 10, 6
FOLDS = 5
PENALTY = 0.01
WARNING_AUC = 0.7
"""The area above which creation warns."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """The real or the synthetic pictures (H, W, 3), and the patient or, if there is none, the name of each."""

    pictures: Sequence[NDArray[np.uint8]]
    units: Sequence[str]


def pixel_auc(real: Side, fake: Side, *, rng: np.random.Generator) -> Interval | None:
    """Return the area under the ROC curve, with its interval over patients; None if they are too few or small.

    The generator draws the folds.
    """
    n_real, n_fake = len(real.pictures), len(fake.pictures)
    if min(n_real, n_fake) < MIN_PICTURES or min(real.pictures[0].shape[:2]) < MIN_PX:
        return None
    x = np.array([pixel_traces(image) for image in chain(real.pictures, fake.pictures)])
    labels = np.array([REAL] * n_real + [SYNTHETIC] * n_fake)
    # Whole patients are in one fold.
    patients = sorted(set(real.units))
    by_patient = len(patients) >= 2
    units = [*real.units, *fake.units] if by_patient else [str(i) for i in range(len(x))]
    first = patients if by_patient else units[:n_real]
    others = sorted(set(units) - set(first))
    fold_of = {unit: i % FOLDS for part in (first, others) for i, unit in enumerate(rng.permutation(part))}
    folds = np.array([fold_of[unit] for unit in units]) % len(first)
    # Score each fold by a classifier of the others.
    scores = np.empty(len(x))
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        model = fit_classifier(
            LabeledFeatures.of(x[train], labels[train].tolist(), name="blinded"), rng=rng, penalties=(PENALTY,)
        )
        log_p = model.log_probabilities(x[test])
        scores[test] = log_p[:, 1] - log_p[:, 0]
    clusters = [f"{label} {unit}" for label, unit in zip(labels, units, strict=True)]
    [auc] = pooled_area([scores], synthetic=labels == SYNTHETIC, clusters=clusters)
    unit = "patient" if by_patient else "picture, because all real ones are of one patient"
    note = f"{n_real} real and {n_fake} synthetic pictures, cross-validated by {unit}"
    return Interval(value=auc.value, low=auc.low, high=auc.high, level=auc.level, note=note)


def check_pixels(
    candidates: Candidates, *, settings: StudySettings, blind: Callable[[Candidate], bytes]
) -> Interval | None:
    """Measure `pixel_auc` on up to `MAX_PICTURES` pictures per side: those of the cases first, then further patches.

    Args:
        candidates: the candidates of the study.
        settings: its settings.
        blind: returns the blinded PNG of a candidate.
    """
    real, fake = (
        _blinded((order for (_, source), order in candidates.orders.items() if (source == REAL) == is_real), blind)
        for is_real in (True, False)
    )
    return pixel_auc(real, fake, rng=derive_rng(settings.seed, "pixel check"))


def _blinded(orders: Iterable[Sequence[Candidate]], blind: Callable[[Candidate], bytes]) -> Side:
    """Blind the first candidate of each order, then the second of each, and so on."""
    pictures, units = [], []
    in_turn = (candidate for turn in zip_longest(*orders) for candidate in turn if candidate is not None)
    for candidate in islice(in_turn, MAX_PICTURES):
        with suppress(BlindingError):  # as in the selection of the cases, which counts them
            pictures.append(decode_png(blind(candidate)))
            units.append(candidate.patient_id or candidate.patch_id)
    return Side(pictures=pictures, units=units)


def pixel_warning(auc: Interval | None) -> Iterator[str]:
    """Yield a warning if a program clearly does better than by guessing."""
    if auc is not None and auc.value > WARNING_AUC:
        yield (
            f"A program can tell real from synthetic pictures by traces in their pixels (AUC {auc.value:.2f}; 0.5 is "
            "guessing): anyone who saves the pictures could use one, and readers may notice the same traces."
        )
