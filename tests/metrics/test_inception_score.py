import numpy as np
import pytest

from histosynth.errors import HistosynthError
from histosynth.metrics.inception_score import adm_splits, even_splits, inception_score

WHOLE = [slice(None)]


def test_certain_and_evenly_distributed_classes_have_the_highest_score():
    logits = np.repeat(np.eye(7) * 200, 30, axis=0)
    assert inception_score(logits, splits=WHOLE).mean == pytest.approx(7)


def test_identical_images_have_a_score_of_one():
    logits = np.tile(np.random.default_rng(0).normal(size=5), (50, 1))
    assert inception_score(logits, splits=even_splits(50)).mean == pytest.approx(1)


def test_two_images_by_hand():
    """p = (3/4, 1/4) and (1/4, 3/4): the mean is uniform, IS = exp(log 2 - H(3/4))."""
    p = np.array([[0.75, 0.25], [0.25, 0.75]])
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    score = inception_score(np.log(p), splits=WHOLE)
    assert score.mean == pytest.approx(np.exp(np.log(2) - entropy))
    assert score.deviation == 0


def test_a_constant_added_to_logits_changes_nothing():
    logits = np.random.default_rng(1).normal(size=(60, 4)) * 3
    one, two = (inception_score(x, splits=even_splits(60, count=3)) for x in (logits, logits + 1000))
    assert one.mean == pytest.approx(two.mean)


@pytest.mark.parametrize("n", [100, 103])
def test_agrees_with_torch_fidelity(n):
    isc = pytest.importorskip("torch_fidelity.metric_isc")
    torch = pytest.importorskip("torch")
    logits = np.random.default_rng(2).normal(size=(n, 30)) * 4
    theirs = isc.isc_features_to_metric(torch.from_numpy(logits), splits=10, shuffle=False)
    ours = inception_score(logits, splits=even_splits(n))
    assert ours.mean == pytest.approx(theirs["inception_score_mean"], rel=1e-9)
    assert ours.deviation == pytest.approx(theirs["inception_score_std"], rel=1e-6)


def test_adm_splits_hold_5000_images_and_the_last_the_rest():
    assert adm_splits(12_000) == [slice(0, 5000), slice(5000, 10_000), slice(10_000, 12_000)]
    logits = np.random.default_rng(3).normal(size=(25, 6))
    parts = [inception_score(logits[s], splits=WHOLE).mean for s in (slice(0, 10), slice(10, 20), slice(20, 25))]
    score = inception_score(logits, splits=adm_splits(25, size=10))
    assert score.mean == pytest.approx(np.mean(parts))
    assert score.deviation == pytest.approx(np.std(parts))
    assert score.splits == 3


def test_images_sorted_by_label_must_be_shuffled():
    logits = np.repeat(np.eye(10) * 50, 40, axis=0)
    assert inception_score(logits, splits=even_splits(400)).mean == pytest.approx(1)  # each split holds one class
    assert inception_score(logits, splits=even_splits(400), rng=np.random.default_rng(0)).mean > 8


def test_input_without_a_score_is_rejected():
    with pytest.raises(HistosynthError, match="do not fill 10 splits"):
        even_splits(9)
    with pytest.raises(HistosynthError, match="not finite"):
        inception_score(np.array([[0.0, np.nan]]), splits=WHOLE)
    with pytest.raises(HistosynthError, match="found none"):
        inception_score(np.zeros((3, 2)), splits=[])
