"""Label check: is the label of a synthetic patch recognized, and can a classifier learn from synthetic patches?

One small classifier (`metrics.classifier`) is trained three times, each time on the same number of patches per label:
on real training patches, on synthetic patches, and on both together. Four tests answer both questions:

    trained on real       -> synthetic    do synthetic patches show their label?
    trained on real       -> held-out     the ceiling of that test, and the utility of real patches
    trained on synthetic  -> held-out     can they replace real patches ...
    trained on both       -> held-out     ... or add to them?

Utility is always tested on patches of held-out patients, so no test rewards knowing a patient.
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
"""What the classifier is trained on, and the side it is tested on."""

_MISSING: Mapping[SideName, str] = {
    "held_out": "no patient is held out, so no real patches are left for testing",
    "train": "there are no real training patches to learn the labels from",
}
_NAMES: Mapping[SideName, str] = {"train": "real training", "fake": "synthetic", "held_out": "real held-out"}


@dataclass(frozen=True, kw_only=True)
class LabelCheck:
    """The results; if `note` gives the reason why there are none, `accuracy` and `confusion` are empty."""

    labels: list[str]  # those of which every side has enough patches
    n: int = 0  # patches of each side, hence of each training set; `both` has twice as many
    accuracy: dict[str, Accuracy] = field(default_factory=dict)  # by the keys of `TESTS`
    confusion: list[list[int]] = field(default_factory=list)  # synthetic patches, [label][predicted label]
    note: str | None = None
    caveat: str | None = None  # what limits the results, if there are any

    @property
    def chance(self) -> float:
        """Balanced accuracy of random guessing."""
        return 1 / len(self.labels)


def check_labels(activations: Activations, *, advance: Callable[[], object] = lambda: None) -> LabelCheck:
    """Train and test on the features of the patches of the overall results; `advance` is called after each training."""
    labels = activations.plan.pooled
    reason = _obstacle(activations.plan)
    if reason is None:
        try:
            return _check(activations, labels, advance)
        except HistosynthError as error:
            reason = str(error)
    return LabelCheck(labels=labels, note=reason)


def _obstacle(plan: Plan) -> str | None:
    """Return why these stores cannot be tested; None if they can."""
    if plan.reference == "train":
        return "held-out patients take no part (evaluate.reference = train), so no real patches are left for testing"
    for side, reason in _MISSING.items():
        if side not in plan.present:
            return reason if not any(map(len, plan.sides[side].rows.values())) else _few(plan, side, plan.labels)
    if len(plan.pooled) < 2:
        counts = [_few(plan, side, few) for side in plan.present if (few := _unusable(plan, side))]
        return f"two labels with patches on every side are needed; {'; '.join(counts)}"
    return None


def _unusable(plan: Plan, side: SideName) -> list[str]:
    return [label for label in plan.labels if not plan.usable(side, label)]


def _few(plan: Plan, side: SideName, labels: list[str]) -> str:
    counts = ", ".join(f"{label} ({len(plan.sides[side].rows[label])})" for label in labels)
    return f"there are fewer than {plan.min_patches} patches ({SIDE_TITLES[side]}) of {counts}"


def _check(activations: Activations, labels: list[str], advance: Callable[[], object]) -> LabelCheck:
    # Features with labels and the units of their intervals.
    real, fake, held_out = (
        LabeledFeatures.of(
            activations.of(side, labels),
            activations.labels(labels),
            name=name,
            units=activations.units(side, labels),
        )
        for side, name in _NAMES.items()
    )

    # Three trainings with one penalty grid.
    rng = np.random.default_rng(SEED)
    penalties, caveat = _penalties(real)
    classifiers = {}
    for name, train in (("real", real), ("synthetic", fake), ("both", real + fake)):
        classifiers[name] = fit_classifier(train, rng=rng, penalties=penalties)
        advance()

    # Four tests.
    tests = {"fake": fake, "held_out": held_out}
    accuracy = {
        key: measure_accuracy(classifiers[trained_on], tests[side], rng=rng)
        for key, (trained_on, side) in TESTS.items()
    }
    predicted = classifiers["real"].predict(fake.features)
    return LabelCheck(
        labels=labels,
        n=len(fake.labels),
        accuracy=accuracy,
        confusion=[[int(np.sum(predicted[fake.labels == label] == other)) for other in labels] for label in labels],
        caveat=caveat,
    )


def _penalties(real: LabeledFeatures) -> tuple[tuple[float, ...], str | None]:
    """Return the penalties that all classifiers choose from: a single one, and why, if a label has too few patients."""
    patients = {label: real.units.index[real.labels == label] for label in np.unique(real.labels).tolist()}
    few = [label for label, indices in patients.items() if len(np.unique(indices)) < FOLDS]
    if not few:
        return PENALTIES, None
    return (DEFAULT_PENALTY,), (
        f"The penalty of the classifier was fixed instead of cross-validated: fewer than {FOLDS} training "
        f"{real.units.kind} have {', '.join(few)}"
    )
