import numpy as np
import pytest
from scipy.optimize import check_grad

from histosynth.errors import HistosynthError
from histosynth.metrics import classifier
from histosynth.metrics.classifier import Accuracy, LabeledFeatures, fit_classifier, measure_accuracy
from histosynth.metrics.uncertainty import patient_units

CENTERS = {"astro": (0.0, 0.0, 0.0), "oligo": (3.0, 0.0, 0.0), "gbm": (0.0, 3.0, 0.0)}


def measure_on_each(
    train: LabeledFeatures, *, tests: dict[str, LabeledFeatures], rng: np.random.Generator
) -> dict[str, Accuracy]:
    """Fit once to real features; test on each set."""
    classifier = fit_classifier(train, rng=rng)
    return {name: measure_accuracy(classifier, test, rng=rng) for name, test in tests.items()}


def measure_usefulness(
    *, real: LabeledFeatures, fake: LabeledFeatures, test: LabeledFeatures, rng: np.random.Generator
) -> dict[str, Accuracy]:
    """Fit to synthetic, real and both; test on held-out images."""
    trains = {"synthetic": fake, "real": real, "both": real + fake}
    return {name: measure_accuracy(fit_classifier(train, rng=rng), test, rng=rng) for name, train in trains.items()}


def cloud(seed: int, *, n: int = 40, patients: int = 8, shift: float = 0.0, name: str = "real") -> LabeledFeatures:
    """Return three labels, `n` images of each, from patients who have one label each and a small shift of their own."""
    rng, rows, labels, owners = np.random.default_rng(seed), [], [], []
    for label, center in CENTERS.items():
        for i in range(n):
            rows.append(np.array(center) + rng.normal(size=3) + shift)
            labels.append(label)
            owners.append(f"{label}{i % patients}")
    return LabeledFeatures.of(np.array(rows), labels, name=name, units=patient_units(owners))


def test_one_feature_and_two_labels_have_the_bayes_boundary():
    """Equal Gaussians 2 apart, one label nine times as frequent: balanced weights put the boundary halfway."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, size=(9000, 1)), rng.normal(2, 1, size=(1000, 1))])
    train = LabeledFeatures.of(x, ["a"] * 9000 + ["b"] * 1000, name="real")
    model = fit_classifier(train, rng=rng, penalties=[1e-3])
    grid = np.linspace(-2, 4, 6001)[:, None]
    assert grid[model.predict(grid) == "b"].min() == pytest.approx(1.0, abs=0.1)


def test_probabilities_are_those_of_the_generating_model():
    """Without a penalty logistic regression is consistent: log p(b) / p(a) = 2x - 2 for these Gaussians."""
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(0, 1, size=(20_000, 1)), rng.normal(2, 1, size=(20_000, 1))])
    model = fit_classifier(
        LabeledFeatures.of(x, ["a"] * 20_000 + ["b"] * 20_000, name="real"), rng=rng, penalties=[0.0]
    )
    grid = np.array([[-1.0], [0.0], [1.0], [3.0]])
    log_p = model.log_probabilities(grid)
    np.testing.assert_allclose(log_p[:, 1] - log_p[:, 0], 2 * grid[:, 0] - 2, atol=0.15)
    np.testing.assert_allclose(np.exp(log_p).sum(axis=1), 1)


def test_the_fit_is_the_minimum(monkeypatch):
    """The gradient passed to L-BFGS is that of the objective, and no step from the solution lowers it."""
    recorded = {}
    solve = classifier.minimize

    def spy(objective, start, **options):
        recorded["f"], recorded["x"] = objective, solve(objective, start, **options).x
        return solve(objective, start, **options)

    monkeypatch.setattr(classifier, "minimize", spy)
    fit_classifier(cloud(2), rng=np.random.default_rng(0), penalties=[0.01])
    f, at = recorded["f"], recorded["x"]
    where = np.random.default_rng(3).normal(size=at.size)
    assert check_grad(lambda w: f(w)[0], lambda w: f(w)[1], where) < 1e-5
    steps = np.random.default_rng(4).normal(size=(50, at.size)) * 1e-2
    assert min(f(at + step)[0] for step in steps) > f(at)[0]


def test_faithful_images_are_recognized_and_shuffled_labels_are_not():
    rng = np.random.default_rng(5)
    faithful = cloud(6, name="synthetic")
    shuffled = LabeledFeatures.of(faithful.features, rng.permutation(faithful.labels).tolist(), name="synthetic")
    accuracies = measure_on_each(
        cloud(7), tests={"held_out": cloud(8), "synthetic": faithful, "shuffled": shuffled}, rng=rng
    )
    assert accuracies["held_out"].balanced.value > 0.8
    assert (
        accuracies["synthetic"].balanced.low
        < accuracies["held_out"].balanced.value
        < accuracies["synthetic"].balanced.high
    )
    assert accuracies["shuffled"].balanced.high < 0.5
    assert accuracies["held_out"].by_label.keys() == CENTERS.keys()
    assert np.mean(list(accuracies["held_out"].by_label.values())) == pytest.approx(
        accuracies["held_out"].balanced.value
    )


def test_usefulness_ranks_the_training_sets():
    """Few real images and many faithful synthetic ones: both beat few; shifted synthetic ones are less useful."""
    rng = np.random.default_rng(9)
    few, many, test = cloud(10, n=4, patients=4), cloud(11, n=150, name="synthetic"), cloud(12, n=300, patients=20)
    accuracies = measure_usefulness(real=few, fake=many, test=test, rng=rng)
    assert set(accuracies) == {"synthetic", "real", "both"}
    assert accuracies["both"].balanced.value > accuracies["real"].balanced.value
    assert accuracies["synthetic"].balanced.value > accuracies["real"].balanced.value
    shifted = measure_usefulness(real=few, fake=cloud(11, n=150, shift=2.0, name="synthetic"), test=test, rng=rng)
    assert shifted["synthetic"].balanced.value < accuracies["synthetic"].balanced.value - 0.1


def test_balanced_accuracy_by_hand():
    """Always `a`: all of a and none of b are recognized, however rare b is."""
    model = fit_classifier(
        LabeledFeatures.of(np.eye(4), list("aabb"), name="real"), rng=np.random.default_rng(0), penalties=[1.0]
    )
    blind = classifier.Classifier(
        classes=model.classes, mean=model.mean, scale=model.scale, weights=np.eye(5, 2)[[1, 1, 1, 1, 0]], penalty=1.0
    )
    test = LabeledFeatures.of(np.zeros((100, 4)), ["a"] * 90 + ["b"] * 10, name="test")
    accuracy = measure_accuracy(blind, test, rng=np.random.default_rng(0))
    assert accuracy.by_label == {"a": 1.0, "b": 0.0}
    assert (accuracy.balanced.value, accuracy.balanced.low, accuracy.balanced.high) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("patients", [8, 20])
def test_the_interval_of_accuracy_covers_the_truth(patients):
    """A fixed classifier and patients of different difficulty: 95 % intervals of its true balanced accuracy."""
    model = fit_classifier(
        LabeledFeatures.of([[-1.0], [1.0]] * 20, ["a", "b"] * 20, name="real"), rng=np.random.default_rng(0)
    )
    rng, covered = np.random.default_rng(13), 0
    for _ in range(200):
        right = rng.random(patients * 10) < np.repeat(rng.beta(4, 2, size=patients), 10)  # 10 images each, mean 2/3
        truth = np.repeat([-1.0, 1.0] * (patients // 2), 10)
        labels = ["a" if t < 0 else "b" for t in truth]
        units = patient_units([f"p{i // 10}" for i in range(patients * 10)])
        test = LabeledFeatures.of(np.where(right, truth, -truth)[:, None], labels, name="test", units=units)
        accuracy = measure_accuracy(model, test, rng=rng, replicates=150).balanced
        covered += accuracy.low <= 2 / 3 <= accuracy.high
    assert covered >= 0.91 * 200


def test_a_label_of_one_patient_is_resampled_by_image_with_a_note():
    model = fit_classifier(
        LabeledFeatures.of([[-1.0], [1.0]] * 20, ["a", "b"] * 20, name="real"), rng=np.random.default_rng(0)
    )
    units = patient_units([f"p{i // 5}" for i in range(25)] + ["lone"] * 5)
    x = np.concatenate([-np.ones(25), [1, 1, 1, -1, -1]])[:, None]
    accuracy = measure_accuracy(
        model, LabeledFeatures.of(x, ["a"] * 25 + ["b"] * 5, name="test", units=units), rng=np.random.default_rng(0)
    )
    assert accuracy.by_label == {"a": 1.0, "b": 0.6}
    assert "single patient" in accuracy.balanced.note
    assert accuracy.balanced.low < 0.65
    with pytest.raises(HistosynthError, match="two or more units"):
        measure_accuracy(
            model, LabeledFeatures.of(x[:26], ["a"] * 25 + ["b"], name="test"), rng=np.random.default_rng(0)
        )


def test_patients_are_not_split_between_folds():
    """Features that identify the patient: by image the smallest penalty is chosen, by patient a larger one."""
    rng = np.random.default_rng(14)
    patient = np.repeat(np.arange(24), 10)
    signature = rng.normal(size=(24, 60))[patient] + 0.05 * rng.normal(size=(240, 60))
    signal = (patient % 2)[:, None] * 0.8 + rng.normal(size=(240, 1))
    labels = np.where(patient % 2, "b", "a").tolist()
    x, units = np.hstack([signature, signal]), patient_units([f"p{i}" for i in patient])
    by_image = fit_classifier(LabeledFeatures.of(x, labels, name="real"), rng=rng)
    by_patient = fit_classifier(LabeledFeatures.of(x, labels, name="real", units=units), rng=rng)
    assert by_image.penalty == min(classifier.PENALTIES)
    assert by_patient.penalty > by_image.penalty


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: LabeledFeatures.of(np.ones((3, 2)), ["a", "b"], name="real"), "3 real images have 2 labels"),
        (lambda: LabeledFeatures.of(np.full((2, 2), np.nan), ["a", "b"], name="real"), "not finite"),
        (
            lambda: fit_classifier(LabeledFeatures.of(np.eye(3), ["a"] * 3, name="real"), rng=np.random.default_rng(0)),
            "have only a",
        ),
        (
            lambda: fit_classifier(
                LabeledFeatures.of(np.eye(5), list("aaaab"), name="real"), rng=np.random.default_rng(0)
            ),
            "label b comes from too few images",
        ),
        (
            lambda: measure_on_each(
                cloud(0), tests={"x": LabeledFeatures.of(np.eye(3), ["astro", "gbm", "gbm"], name="held-out")}, rng=RNG
            ),
            "held-out images lack oligo;",
        ),
        (
            lambda: measure_on_each(
                cloud(0), tests={"x": LabeledFeatures.of(np.eye(3), ["astro", "gbm", "x"], name="held-out")}, rng=RNG
            ),
            "lack oligo and have the untrained x",
        ),
        (
            lambda: measure_on_each(
                cloud(0), tests={"x": LabeledFeatures.of(np.eye(4), list("aabb"), name="held-out")}, rng=RNG
            ),
            "cannot compare 3 features with 4",
        ),
    ],
)
def test_input_that_cannot_be_classified_is_rejected(make, match):
    with pytest.raises(HistosynthError, match=match):
        make()


RNG = np.random.default_rng(0)
