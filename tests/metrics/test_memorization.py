import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import mannwhitneyu

from histosynth.metrics import memorization
from histosynth.metrics.memorization import (
    authenticity,
    data_copying,
    k_means,
    measure_closeness,
    measure_controls,
    nearest_neighbors,
)


def normal(seed: int, n: int, d: int = 6, *, shift: float = 0.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(n, d)) + shift).astype(np.float32)


def naive_authenticity(fake: np.ndarray, train: np.ndarray) -> float:
    """Return the authenticity by its definition (Alaa et al. 2022), one patch at a time."""
    authentic = 0
    for x in fake:
        to_train = np.linalg.norm(train - x, axis=1)
        i = int(to_train.argmin())
        others = np.delete(np.linalg.norm(train - train[i], axis=1), i)
        authentic += to_train[i] >= others.min()
    return authentic / len(fake)


@given(seed=st.integers(0, 10_000), n=st.integers(2, 20), m=st.integers(1, 12))
@settings(max_examples=40)
def test_authenticity_agrees_with_the_definition(seed, n, m):
    train, fake = normal(seed, n, 3), normal(seed + 1, m, 3)
    assert authenticity(fake, train) == pytest.approx(naive_authenticity(fake, train))


def test_authenticity_on_a_line():
    train = [[0.0], [1.0], [10.0]]  # nearest other: 1, 1, 9
    assert authenticity([[0.4]], train) == 0.0
    assert authenticity([[-1.5]], train) == 1.0
    assert authenticity([[-1.0]], train) == 1.0, "a tie is authentic"
    assert authenticity([[0.4], [-1.5], [18.0], [20.0]], train) == 0.5


def test_nearest_neighbors_agree_with_all_distances_for_any_block_size(monkeypatch):
    a, b = normal(0, 50, 7, shift=100), normal(1, 90, 7, shift=100)
    expected = cdist(a, b)
    for block in (1, 4000, 1 << 26):
        monkeypatch.setattr(memorization, "_BLOCK_BYTES", block)
        rows, distances = nearest_neighbors(a, b)
        assert np.array_equal(rows, expected.argmin(axis=1))
        assert distances == pytest.approx(expected.min(axis=1), rel=1e-6)
    own = cdist(b, b) + np.diag(np.full(90, np.inf))
    assert np.array_equal(nearest_neighbors(b, b, others=True)[0], own.argmin(axis=1))


def test_a_copy_has_distance_zero_even_far_from_the_origin():
    x = normal(0, 200, 1280, shift=1e3)
    rows, distances = nearest_neighbors(x[::-1], x)
    assert np.array_equal(rows, np.arange(200)[::-1])
    assert not distances.any()


def test_one_cell_is_the_mann_whitney_test():
    train, held_out, fake = normal(0, 200), normal(1, 60), normal(2, 45) * np.float32(0.8)
    result = data_copying(fake, held_out, train, cells=1)
    d_fake, d_held_out = cdist(fake, train).min(axis=1), cdist(held_out, train).min(axis=1)
    expected = mannwhitneyu(d_fake, d_held_out, alternative="less", method="asymptotic", use_continuity=False)
    assert result.p == pytest.approx(expected.pvalue)
    assert result.nearer == pytest.approx(1 - expected.statistic / (60 * 45))
    assert result.c_t == result.z


def test_cells_are_weighted_by_the_held_out_patches():
    """Two distant clusters, which k-means must find: copies in one, new patches in the other, 30 to 90."""
    train = np.concatenate([normal(0, 100), normal(1, 100, shift=50)])
    held_out = np.concatenate([normal(2, 30), normal(3, 90, shift=50)])
    fake = np.concatenate([train[:40] + np.float32(1e-3), normal(4, 40, shift=50)])
    result = data_copying(fake, held_out, train, cells=2)
    each = [data_copying(fake[a], held_out[b], train[c], cells=1) for a, b, c in (
        (slice(40), slice(30), slice(100)), (slice(40, 80), slice(30, 120), slice(100, 200)))]  # fmt: skip
    assert result.c_t == pytest.approx(0.25 * each[0].c_t + 0.75 * each[1].c_t)
    assert result.z == pytest.approx(result.c_t / np.sqrt(0.25**2 + 0.75**2))
    assert each[0].nearer == 1.0
    sparse = data_copying(fake[: 40 + 19], held_out, train, cells=2)  # 19 synthetic patches are too few for a cell
    assert (sparse.cells, sparse.cells_left_out, sparse.nearer) == (1, 1, 1.0)


def test_c_t_is_zero_on_average_without_copying_and_its_sign_separates_copying_from_underfitting():
    train, held_out = normal(0, 600), normal(1, 400)
    z = [data_copying(normal(seed, 300), held_out, normal(100 + seed, 400), cells=3).z for seed in range(2, 32)]
    assert abs(np.mean(z)) < 0.6
    assert 0.5 < np.std(z) < 1.6
    copies = data_copying(train[:400] + normal(5, 400) * np.float32(0.05), held_out, train)
    assert copies.c_t < -10
    assert copies.p < 1e-20
    assert data_copying(normal(6, 400) * 3, held_out, train, cells=1).c_t > 10


def test_k_means_finds_separate_clusters_and_no_more_cells_than_points():
    points = np.concatenate([normal(0, 50, shift=100 * k) for k in range(4)])
    centers = k_means(points, 4, rng=np.random.default_rng(0))
    assert np.sort(centers.mean(axis=1)) == pytest.approx(
        [points[50 * k : 50 * k + 50].mean() for k in range(4)], rel=1e-4
    )
    assert len(k_means(np.repeat(points[:2], 9, axis=0), 5, rng=np.random.default_rng(0))) == 2


def patients_of_one_style(seed: int, count: int, each: int) -> tuple[np.ndarray, list[str]]:
    """Return patches that scatter around their patient, and patients that scatter much more around each other."""
    rng = np.random.default_rng(seed)
    styles = rng.normal(0, 3, (count, 6)).repeat(each, axis=0)
    names = [f"P{seed}-{k}" for k in range(count) for _ in range(each)]
    return (styles + rng.normal(size=styles.shape)).astype(np.float32), names


def test_controls_separate_new_patches_of_training_patients_from_copies():
    """An ideal generator, which knows the patients and copies nothing, is far below 0, and so is the control."""
    train, names = patients_of_one_style(0, 12, 60)
    held_out, _ = patients_of_one_style(1, 5, 60)
    ideal = train[np.random.default_rng(2).permutation(720)[:180]]
    rest = np.array([row for row in train if not (ideal == row).all(axis=1).any()])
    synthetic = measure_closeness(ideal, held_out, rest)
    by_patient, by_patch = measure_controls(held_out, train, patients=names, n=180)
    assert by_patch.copying is not None
    assert by_patient.copying is not None
    assert synthetic.copying is not None
    assert synthetic.copying.p < 1e-6, "C_T alone would indicate copying"
    assert synthetic.copying.nearer == pytest.approx(by_patch.copying.nearer, abs=0.08)
    assert abs(by_patient.copying.nearer - 0.5) < abs(by_patch.copying.nearer - 0.5)
    assert (by_patch.n, by_patch.n_train, by_patient.n, by_patient.n_train) == (180, 540, 180, 540)
    copying = measure_closeness(train[:180], held_out, train)
    assert copying.authenticity == 0.0
    assert copying.copying is not None
    assert copying.copying.nearer == 1.0 > by_patch.copying.nearer


def test_a_note_states_why_a_measure_is_missing():
    train, none = normal(0, 40), np.empty((0, 6), np.float32)
    result = measure_closeness(normal(1, 30), none, train)
    assert result.copying is None
    assert result.authenticity is not None
    assert result.note == "C_T not measured: needs 20 synthetic and held-out patches, found 30 and 0"
    assert measure_closeness(none, none, train).note == "not measured: 0 patches against 40 training patches"
    apart = measure_closeness(
        np.repeat(normal(2, 1), 30, axis=0), normal(3, 30, shift=90), np.concatenate([train, train + 90])
    )
    assert apart.copying is not None
    assert measure_controls(none, train, patients=["A"] * 40, n=10)[0].note == (
        "not measured: there are 40 training patches, and every patient has more than half of them"
    )
    for unnamed in ([None] * 40, []):
        unknown = measure_controls(none, train, patients=unnamed, n=10)[0]
        assert (unknown.n, unknown.note) == (
            0,
            "not measured: there are 40 training patches, and their patients are unknown",
        )
    with pytest.raises(ValueError, match="the two do not overlap"):
        data_copying(train[:25], train[:25] + 90, np.concatenate([train, train + 90]), cells=2)
