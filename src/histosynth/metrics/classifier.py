"""A small classifier on features, for two questions: do synthetic images carry their label, and are they of use?

Multinomial logistic regression on standardized features, each label of the same total weight (wᵢ = 1 / K n_label):

    min over W, b:  Σ wᵢ (log Σ_k exp(zᵢ)_k - (zᵢ)_yᵢ) + λ/2 |W|²,      z = xW + b

solved by L-BFGS. λ is the one of `PENALTIES` with the lowest loss in cross-validation over whole units (patients, where
they are known), so that it is not chosen for recognizing patients. The measure is balanced accuracy, the mean over
labels of the share recognized: a guesser has 1 / K whatever the mix of labels.

Trained on real patches, it should recognize synthetic ones as well as held-out real ones; trained on synthetic, real,
or both, it is tested on held-out patients ("train on synthetic, test on real", Esteban et al. 2017; the classification
accuracy score of Ravuri & Vinyals 2019).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from histosynth.errors import HistosynthError
from histosynth.metrics.features import check_dimensions, feature_array
from histosynth.metrics.uncertainty import (
    LEVEL,
    REPLICATES,
    Interval,
    Units,
    draw_units,
    image_units,
    unit_sums,
    widening_factor,
)

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
DEFAULT_PENALTY = 1e-1
"""For where too few patients leave nothing to choose by."""
FOLDS = 3


@dataclass(frozen=True, kw_only=True)
class LabeledFeatures:
    """Features (N, D) of one side with their labels (N,) and the units to resample and fold by."""

    name: str
    features: NDArray[np.floating]
    labels: NDArray[np.str_]
    units: Units

    @classmethod
    def of(
        cls, features: ArrayLike, labels: Sequence[str], *, name: str, units: Units | None = None
    ) -> "LabeledFeatures":
        """Checked; units are single images where not given.

        Raises:
            HistosynthError: no image, values that are not finite, or not one label and one unit an image.
        """
        x = feature_array(features, name=name, least=1, reason="a classifier")
        units = units or image_units(len(x))
        if not len(x) == len(labels) == len(units.index):
            raise HistosynthError(f"{len(x)} {name} images have {len(labels)} labels and {len(units.index)} units")
        return cls(name=name, features=x, labels=np.array(labels, dtype=str), units=units)

    def __add__(self, other: "LabeledFeatures") -> "LabeledFeatures":
        check_dimensions(self.features.shape[1], other.features.shape[1])
        units = np.concatenate([self.units.index, self.units.count + other.units.index])
        return LabeledFeatures(
            name=f"{self.name} and {other.name}",
            features=np.concatenate([self.features, other.features]),
            labels=np.concatenate([self.labels, other.labels]),
            units=Units(index=units, count=self.units.count + other.units.count, kind=self.units.kind),
        )


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A fitted one; its weights are those of standardized features."""

    classes: NDArray[np.str_]  # (K,), sorted
    mean: NDArray[np.float64]  # (D,)
    scale: NDArray[np.float64]  # (D,)
    weights: NDArray[np.float64]  # (D + 1, K), the bias last
    penalty: float

    def log_probabilities(self, features: ArrayLike) -> NDArray[np.float64]:
        """Of (N, D) features, (N, K)."""
        x = (np.asarray(features, dtype=np.float64) - self.mean) / self.scale
        return np.asarray(log_softmax(x @ self.weights[:-1] + self.weights[-1], axis=1))

    def predict(self, features: ArrayLike) -> NDArray[np.str_]:
        """The likeliest label of each row."""
        return np.asarray(self.classes[self.log_probabilities(features).argmax(axis=1)])


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """How well labels are recognized: by label (share of it recognized) and balanced over them, with its interval."""

    by_label: Mapping[str, float]
    balanced: Interval
    images: int


def fit_classifier(
    train: LabeledFeatures, *, rng: np.random.Generator, penalties: Sequence[float] = PENALTIES
) -> Classifier:
    """The classifier of these features, its penalty chosen among `penalties` by cross-validation over units.

    Raises:
        HistosynthError: fewer than two labels; a label that only one unit has, so that no fold can leave it out.
    """
    classes = np.unique(train.labels)
    if len(classes) < 2:
        raise HistosynthError(f"a classifier needs two labels or more; the {train.name} images have only {classes[0]}")
    if len(penalties) == 1:
        return _fit(train.features, train.labels, classes, penalties[0])
    folds = _folds(train, classes, rng)
    losses = np.zeros(len(penalties))
    for fold in range(FOLDS):
        kept, left = folds != fold, folds == fold
        for i, penalty in enumerate(penalties):
            model = _fit(train.features[kept], train.labels[kept], classes, penalty)
            losses[i] += _loss(model.log_probabilities(train.features[left]), train.labels[left], classes)
    return _fit(train.features, train.labels, classes, penalties[int(losses.argmin())])


def measure_accuracy(
    classifier: Classifier,
    test: LabeledFeatures,
    *,
    rng: np.random.Generator,
    level: float = LEVEL,
    replicates: int = REPLICATES,
) -> Accuracy:
    """Accuracy on these features, its interval by resampling their units (the classifier held fixed).

    The interval is as wide as the label of the fewest patients demands; where one has a single patient, images are
    resampled, with a note. Draws that miss a label are left out.

    Raises:
        HistosynthError: a label of the classifier has fewer than two images here, or one here was not trained.
    """
    check_dimensions(classifier.mean.size, test.features.shape[1])
    _same_labels(classifier.classes, test)
    truth = test.labels[:, None] == classifier.classes
    right = truth & (classifier.predict(test.features) == test.labels)[:, None]
    shares = right.sum(axis=0) / truth.sum(axis=0)
    value, units = float(shares.mean()), test.units
    fewest = int(np.count_nonzero(unit_sums(truth.astype(float), units), axis=0).min())
    if fewest < 2 and units.kind == "patients":
        units = image_units(len(truth), note="resampled by image, as a label has a single patient: too narrow")
        fewest = int(truth.sum(axis=0).min())
    hits, totals = unit_sums(right.astype(float), units), unit_sums(truth.astype(float), units)
    found = []
    for draw in draw_units(units, replicates=replicates, rng=rng):
        there = totals[draw].sum(axis=0)
        if there.all():
            found.append(np.mean(hits[draw].sum(axis=0) / there))
    shifts = widening_factor(fewest, level=level) * (np.array(found or [value]) - value)
    low, high = np.clip(value + np.quantile(shifts, [(1 - level) / 2, (1 + level) / 2]), 0.0, 1.0)
    return Accuracy(
        by_label=dict(zip(classifier.classes.tolist(), shares.tolist(), strict=True)),
        balanced=Interval(value=value, low=float(low), high=float(high), level=level, note=units.note),
        images=len(test.labels),
    )


def _fit(x: NDArray[np.floating], labels: NDArray[np.str_], classes: NDArray[np.str_], penalty: float) -> Classifier:
    x = x.astype(np.float64)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale == 0] = 1.0  # a constant feature says nothing
    design = np.hstack([(x - mean) / scale, np.ones((len(x), 1))])
    truth = (labels[:, None] == classes).astype(float)
    weight = (truth / truth.sum(axis=0)).sum(axis=1) / len(classes)
    shrunk = np.full((design.shape[1], 1), penalty)
    shrunk[-1] = 0.0  # the bias is free

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        w = flat.reshape(design.shape[1], len(classes))
        log_p = log_softmax(design @ w, axis=1)
        value = -np.sum(weight[:, None] * truth * log_p) + 0.5 * np.sum(shrunk * w**2)
        slope = design.T @ (weight[:, None] * (np.exp(log_p) - truth)) + shrunk * w
        return float(value), slope.ravel()

    start = np.zeros(design.shape[1] * len(classes))
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, "gtol": 1e-5})
    weights = found.x.reshape(design.shape[1], len(classes))
    return Classifier(classes=classes, mean=mean, scale=scale, weights=weights, penalty=penalty)


def _loss(log_p: NDArray[np.float64], labels: NDArray[np.str_], classes: NDArray[np.str_]) -> float:
    """Mean over the labels of each one's mean loss."""
    truth = labels[:, None] == classes
    return float(-np.mean([log_p[truth[:, k], k].mean() for k in range(len(classes)) if truth[:, k].any()]))


def _folds(train: LabeledFeatures, classes: NDArray[np.str_], rng: np.random.Generator) -> NDArray[np.int64]:
    """A fold for each image, whole units together; units are dealt label by label, so each label is in each fold."""
    label_of = np.zeros(train.units.count, dtype=np.int64)
    label_of[train.units.index] = np.searchsorted(classes, train.labels)  # of a unit with several labels, the last
    order = rng.permutation(train.units.count)
    order = order[np.argsort(label_of[order], kind="stable")]
    fold_of = np.empty(train.units.count, dtype=np.int64)
    fold_of[order] = np.arange(train.units.count) % FOLDS
    folds = fold_of[train.units.index]
    for label in classes:
        if len(np.unique(folds[train.labels == label])) < 2:
            raise HistosynthError(
                f"the label {label} comes from too few {train.units.kind} of the {train.name} images to choose a "
                "penalty by cross-validation; give it several, or one penalty"
            )
    return folds


def _same_labels(classes: NDArray[np.str_], test: LabeledFeatures) -> None:
    here = set(test.labels.tolist())
    missing, unknown = sorted({*classes.tolist()} - here), sorted(here - {*classes.tolist()})
    if missing or unknown:
        found = " and ".join(
            [f"lack {', '.join(missing)}"] * bool(missing)
            + [f"have the untrained {', '.join(unknown)}"] * bool(unknown)
        )
        raise HistosynthError(f"the {test.name} images {found}; train and test on the same labels")
