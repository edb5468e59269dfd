"""Is the label of a synthetic patch recognized, and are synthetic patches of use to who trains on them?

One small classifier (`metrics.classifier`) is trained three times, each time on as many patches a label: on real
training patches, on synthetic ones, and on both together. Four tests of it answer both questions:

    trained on real       -> synthetic    do they carry their label?
    trained on real       -> held-out     the ceiling of that, and the use of real patches
    trained on synthetic  -> held-out     are they of use in the place of real ones ...
    trained on both       -> held-out     ... and in addition to them?

Patches of held-out patients are the test throughout, so no test rewards knowing a patient.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from histosynth.errors import HistosynthError
from histosynth.metrics.classifier import (
    DEFAULT_PENALTY,
    FOLDS,
    PENALTIES,
    Accuracy,
    LabeledFeatures,
    fit_classifier,
    measure_accuracy,
)
from histosynth.report.activations import Activations
from histosynth.report.sides import SEED, SIDE_TITLES, Plan, SideName

TESTS: Mapping[str, tuple[str, SideName]] = {
    "real_on_synthetic": ("real", "fake"),
    "real_on_held_out": ("real", "held_out"),
    "synthetic_on_held_out": ("synthetic", "held_out"),
    "both_on_held_out": ("both", "held_out"),
}
"""What it is trained on, and the side it is tested on."""

_LACKS: Mapping[SideName, str] = {
    "held_out": "no patient is held out, so nothing real is left to test on",
    "train": "there are no real training patches to learn the labels from",
}
_NAMES: Mapping[SideName, str] = {"train": "real training", "fake": "synthetic", "held_out": "real held-out"}


@dataclass(frozen=True, kw_only=True)
class LabelCheck:
    """The outcome; where `note` says why nothing could be measured, `accuracy` and `confusion` are empty."""

    labels: list[str]  # those that every side has enough of
    n: int = 0  # patches of each side, so also of each training; of `both` twice as many
    accuracy: dict[str, Accuracy] = field(default_factory=dict)  # by the keys of `TESTS`
    confusion: list[list[int]] = field(default_factory=list)  # synthetic patches, [label they carry][label recognized]
    note: str | None = None
    caveat: str | None = None  # what limits it, where it was measured

    @property
    def chance(self) -> float:
        """Balanced accuracy of a guesser."""
        return 1 / len(self.labels)


def check_labels(activations: Activations, *, advance: Callable[[], object] = lambda: None) -> LabelCheck:
    """Train and test on the features of the patches that enter the overall figures; `advance` after each training."""
    labels = activations.plan.pooled
    reason = _obstacle(activations.plan)
    if reason is None:
        try:
            return _check(activations, labels, advance)
        except HistosynthError as error:
            reason = str(error)
    return LabelCheck(labels=labels, note=reason)


def _obstacle(plan: Plan) -> str | None:
    """Why these stores cannot be asked; None where they can."""
    for side, lack in _LACKS.items():
        if side not in plan.present:
            return lack if not any(map(len, plan.sides[side].rows.values())) else _few(plan, side, plan.labels)
    if len(plan.pooled) < 2:
        lacks = [_few(plan, side, few) for side in plan.present if (few := _unusable(plan, side))]
        return f"two labels with patches on every side are needed; {'; '.join(lacks)}"
    return None


def _unusable(plan: Plan, side: SideName) -> list[str]:
    return [label for label in plan.labels if not plan.usable(side, label)]


def _few(plan: Plan, side: SideName, labels: list[str]) -> str:
    counts = ", ".join(f"{label} ({len(plan.sides[side].rows[label])})" for label in labels)
    return f"there are fewer than {plan.min_patches} patches ({SIDE_TITLES[side]}) of {counts}"


def _check(activations: Activations, labels: list[str], advance: Callable[[], object]) -> LabelCheck:
    real, fake, held_out = (
        LabeledFeatures.of(
            activations.of(side, labels),
            activations.labels(labels),
            name=name,
            units=activations.units(side, labels),
        )
        for side, name in _NAMES.items()
    )
    rng = np.random.default_rng(SEED)
    penalties, caveat = _penalties(real)
    classifiers = {}
    for name, train in (("real", real), ("synthetic", fake), ("both", real + fake)):
        classifiers[name] = fit_classifier(train, rng=rng, penalties=penalties)
        advance()
    tests = {"fake": fake, "held_out": held_out}
    found = {key: measure_accuracy(classifiers[by], tests[on], rng=rng) for key, (by, on) in TESTS.items()}
    said = classifiers["real"].predict(fake.features)
    return LabelCheck(
        labels=labels,
        n=len(fake.labels),
        accuracy=found,
        confusion=[[int(np.sum(said[fake.labels == carried] == other)) for other in labels] for carried in labels],
        caveat=caveat,
    )


def _penalties(real: LabeledFeatures) -> tuple[tuple[float, ...], str | None]:
    """What all classifiers choose from: one penalty, and why, where a label has too few patients to choose by."""
    patients = {label: real.units.index[real.labels == label] for label in np.unique(real.labels).tolist()}
    few = [label for label, of in patients.items() if len(np.unique(of)) < FOLDS]
    if not few:
        return PENALTIES, None
    return (DEFAULT_PENALTY,), (
        f"The penalty of the classifier was fixed, not chosen: fewer than {FOLDS} training {real.units.kind} have "
        f"{', '.join(few)}"
    )
