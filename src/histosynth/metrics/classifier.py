"""A small classifier on features, for two questions: do synthetic images show their label, and are they useful?

Multinomial logistic regression on standardized features, with equal total weight per label (wᵢ = 1 / K n_label):

    min over W, b:  Σ wᵢ (log Σ_k exp(zᵢ)_k - (zᵢ)_yᵢ) + λ/2 |W|²,      z = xW + b

minimized by L-BFGS. λ is the value in `PENALTIES` with the lowest loss in cross-validation over whole units (patients,
if known), so that it is not chosen for recognizing patients. The measure is balanced accuracy, the mean over labels of
the share recognized: guessing reaches 1 / K whatever the frequencies of the labels.

Trained on real patches, the classifier should recognize synthetic ones as well as held-out real ones. Trained on
synthetic, real, or both, it is tested on held-out patients ("train on synthetic, test on real", Esteban et al. 2017;
the classification accuracy score of Ravuri & Vinyals 2019).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from histosynth.errors import HistosynthError
from histosynth.metrics.features import Features, FeaturesLike, require_equal_dimensions, require_images
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
"""Used if there are too few patients for cross-validation."""
FOLDS = 3


@dataclass(frozen=True, kw_only=True)
class LabeledFeatures:
    """Features (N, D) of one side with their labels (N,) and the units for resampling and cross-validation."""

    name: str
    features: NDArray[np.floating]
    labels: NDArray[np.str_]
    units: Units

    @classmethod
    def of(
        cls, features: FeaturesLike, labels: Sequence[str], *, name: str, units: Units | None = None
    ) -> "LabeledFeatures":
        """Validate the parts; units are single images by default.

        Raises:
            HistosynthError: there is no image, values are not finite, or there is not one label and unit per image.
        """
        valid = Features.of(features, name=f"{name} features")
        require_images(valid, minimum=1, purpose="a classifier", side=name)
        x = valid.values
        units = units or image_units(len(x))
        if not len(x) == len(labels) == len(units.index):
            raise HistosynthError(f"{len(x)} {name} images have {len(labels)} labels and {len(units.index)} units")
        return cls(name=name, features=x, labels=np.array(labels, dtype=str), units=units)

    def __add__(self, other: "LabeledFeatures") -> "LabeledFeatures":
        require_equal_dimensions(self.features.shape[1], other.features.shape[1])
        units = np.concatenate([self.units.index, self.units.count + other.units.index])
        return LabeledFeatures(
            name=f"{self.name} and {other.name}",
            features=np.concatenate([self.features, other.features]),
            labels=np.concatenate([self.labels, other.labels]),
            units=Units(index=units, count=self.units.count + other.units.count, kind=self.units.kind),
        )


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A fitted classifier; its weights apply to standardized features."""

    classes: NDArray[np.str_]  # (K,), sorted
    mean: NDArray[np.float64]  # (D,)
    scale: NDArray[np.float64]  # (D,)
    weights: NDArray[np.float64]  # (D + 1, K), the bias last
    penalty: float

    def log_probabilities(self, features: ArrayLike) -> NDArray[np.float64]:
        """Return the log probabilities (N, K) of (N, D) features."""
        x = (np.asarray(features, dtype=np.float64) - self.mean) / self.scale
        return np.asarray(log_softmax(x @ self.weights[:-1] + self.weights[-1], axis=1))

    def predict(self, features: ArrayLike) -> NDArray[np.str_]:
        """Return the most probable label of each row."""
        return np.asarray(self.classes[self.log_probabilities(features).argmax(axis=1)])


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Share recognized per label, and balanced accuracy with its interval."""

    by_label: Mapping[str, float]
    balanced: Interval
    images: int


def fit_classifier(
    train: LabeledFeatures, *, rng: np.random.Generator, penalties: Sequence[float] = PENALTIES
) -> Classifier:
    """Fit a classifier to these features; choose its penalty among `penalties` by cross-validation over units.

    Raises:
        HistosynthError: there are fewer than two labels, or a label has only one unit, so that no fold can exclude it.
    """
    classes = np.unique(train.labels)
    if len(classes) < 2:
        raise HistosynthError(f"a classifier needs two or more labels; the {train.name} images have only {classes[0]}")
    if len(penalties) == 1:
        return _fit(train.features, train.labels, classes, penalties[0])
    folds = _folds(train, classes, rng)
    losses = np.zeros(len(penalties))
    for fold in range(FOLDS):
        train_rows, test_rows = folds != fold, folds == fold
        for i, penalty in enumerate(penalties):
            model = _fit(train.features[train_rows], train.labels[train_rows], classes, penalty)
            losses[i] += _loss(model.log_probabilities(train.features[test_rows]), train.labels[test_rows], classes)
    return _fit(train.features, train.labels, classes, penalties[int(losses.argmin())])


def measure_accuracy(
    classifier: Classifier,
    test: LabeledFeatures,
    *,
    rng: np.random.Generator,
    level: float = LEVEL,
    replicates: int = REPLICATES,
) -> Accuracy:
    """Measure the accuracy on these features; its interval resamples their units, with the classifier held fixed.

    The interval is widened for the label with the fewest patients. If a label has a single patient, images are
    resampled, with a note. Draws that miss a label are excluded.

    Raises:
        HistosynthError: a label of the classifier has fewer than two images here, or a label here was not trained.
    """
    require_equal_dimensions(classifier.mean.size, test.features.shape[1])
    _same_labels(classifier.classes, test)
    # Count what is recognized per label.
    truth = test.labels[:, None] == classifier.classes
    recognized = truth & (classifier.predict(test.features) == test.labels)[:, None]
    shares = recognized.sum(axis=0) / truth.sum(axis=0)
    value, units = float(shares.mean()), test.units
    # Choose the units to resample.
    fewest = int(np.count_nonzero(unit_sums(truth.astype(float), units), axis=0).min())
    if fewest < 2 and units.kind == "patients":
        units = image_units(len(truth), note="resampled by image, because a label has a single patient: too narrow")
        fewest = int(truth.sum(axis=0).min())
    # Resample them.
    hits, totals = unit_sums(recognized.astype(float), units), unit_sums(truth.astype(float), units)
    values = []
    for draw in draw_units(units, replicates=replicates, rng=rng):
        images = totals[draw].sum(axis=0)
        if images.all():
            values.append(np.mean(hits[draw].sum(axis=0) / images))
    shifts = widening_factor(fewest, level=level) * (np.array(values or [value]) - value)
    low, high = np.clip(value + np.quantile(shifts, [(1 - level) / 2, (1 + level) / 2]), 0.0, 1.0)
    return Accuracy(
        by_label=dict(zip(classifier.classes.tolist(), shares.tolist(), strict=True)),
        balanced=Interval(value=value, low=float(low), high=float(high), level=level, note=units.note),
        images=len(test.labels),
    )


def _fit(x: NDArray[np.floating], labels: NDArray[np.str_], classes: NDArray[np.str_], penalty: float) -> Classifier:
    x = x.astype(np.float64)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale == 0] = 1.0  # a constant feature carries no information
    design = np.hstack([(x - mean) / scale, np.ones((len(x), 1))])
    truth = (labels[:, None] == classes).astype(float)
    weight = (truth / truth.sum(axis=0)).sum(axis=1) / len(classes)
    penalties = np.full((design.shape[1], 1), penalty)
    penalties[-1] = 0.0  # the bias is not penalized

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        w = flat.reshape(design.shape[1], len(classes))
        log_p = log_softmax(design @ w, axis=1)
        value = -np.sum(weight[:, None] * truth * log_p) + 0.5 * np.sum(penalties * w**2)
        gradient = design.T @ (weight[:, None] * (np.exp(log_p) - truth)) + penalties * w
        return float(value), gradient.ravel()

    start = np.zeros(design.shape[1] * len(classes))
    solution = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, "gtol": 1e-5})
    weights = solution.x.reshape(design.shape[1], len(classes))
    return Classifier(classes=classes, mean=mean, scale=scale, weights=weights, penalty=penalty)


def _loss(log_p: NDArray[np.float64], labels: NDArray[np.str_], classes: NDArray[np.str_]) -> float:
    """Return the mean over labels of the mean loss of each."""
    truth = labels[:, None] == classes
    return float(-np.mean([log_p[truth[:, k], k].mean() for k in range(len(classes)) if truth[:, k].any()]))


def _folds(train: LabeledFeatures, classes: NDArray[np.str_], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the fold of each image. Units stay whole; they are assigned label by label, so folds hold all labels."""
    label_of = np.zeros(train.units.count, dtype=np.int64)
    label_of[train.units.index] = np.searchsorted(classes, train.labels)  # the last label of a unit with several
    order = rng.permutation(train.units.count)
    order = order[np.argsort(label_of[order], kind="stable")]
    fold_of = np.empty(train.units.count, dtype=np.int64)
    fold_of[order] = np.arange(train.units.count) % FOLDS
    folds = fold_of[train.units.index]
    for label in classes:
        if len(np.unique(folds[train.labels == label])) < 2:
            raise HistosynthError(
                f"the label {label} comes from too few {train.units.kind} of the {train.name} images to choose a "
                f"penalty by cross-validation; add {train.units.kind}, or pass a single penalty"
            )
    return folds


def _same_labels(classes: NDArray[np.str_], test: LabeledFeatures) -> None:
    here = set(test.labels.tolist())
    missing, unknown = sorted({*classes.tolist()} - here), sorted(here - {*classes.tolist()})
    if missing or unknown:
        problem = " and ".join(
            [f"lack {', '.join(missing)}"] * bool(missing)
            + [f"have the untrained {', '.join(unknown)}"] * bool(unknown)
        )
        raise HistosynthError(f"the {test.name} images {problem}; train and test on the same labels")
