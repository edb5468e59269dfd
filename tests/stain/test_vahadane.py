from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.optimize import minimize, nnls

from histosynth.slides.phantom import GENOTYPES, draw_phantom
from histosynth.stain import REASONS, Macenko, StainError, Vahadane
from histosynth.stain.optical_density import to_density
from histosynth.stain.two_stains import TARGET
from histosynth.stain.vahadane import bin_densities, concentrations, factorize, update_stains

VAHADANE = Vahadane()
H, E = np.array([0.6511, 0.7012, 0.2905]), np.array([0.2159, 0.8012, 0.5581])  # default stains of QuPath


def mixture(hematoxylin: np.ndarray, eosin: np.ndarray, *, seed: int = 0, pixels: int = 40_000) -> np.ndarray:
    """Draw pixels (N, 3) of nuclei, of eosin-only matrix and of mixtures, with sensor noise."""
    rng = np.random.default_rng(seed)
    kind = rng.random(pixels)
    c_h = np.where(kind < 0.3, rng.uniform(0.8, 2.0, pixels), np.where(kind < 0.6, 0, rng.uniform(0, 1.5, pixels)))
    c_e = np.where(kind < 0.3, 0, rng.uniform(0.4, 1.2, pixels))
    light = 240 * np.exp(-(c_h[:, None] * hematoxylin + c_e[:, None] * eosin)) - 1
    return np.clip(np.rint(light + rng.normal(0, 0.7, light.shape)), 0, 255).astype(np.uint8)


def noisy(color: tuple[int, int, int], *, spread: float, pixels: int = 5000) -> np.ndarray:
    return np.clip(np.random.default_rng(0).normal(color, spread, (pixels, 3)), 0, 255).astype(np.uint8)


def degrees(one: object, other: object) -> np.ndarray:
    """Return the angles between the rows of two arrays."""
    a, b = (np.array(x) / np.linalg.norm(x, axis=1, keepdims=True) for x in (one, other))
    return np.degrees(np.arccos(np.clip((a * b).sum(axis=1), -1, 1)))


def stained(pixels: np.ndarray) -> np.ndarray:
    """Return the densities (3, N) of the stained pixels, in float64."""
    density = to_density(pixels.T).astype(float)
    return density[:, density.min(axis=0) >= 0.15]


def random_stains(rng: np.random.Generator) -> np.ndarray:
    stains = rng.random((2, 3)) + 0.01
    return stains / np.linalg.norm(stains, axis=1, keepdims=True)


def cost(density: np.ndarray, stains: np.ndarray, c: np.ndarray, *, penalty: float) -> np.ndarray:
    """Return the objective per pixel."""
    return 0.5 * ((density - stains.T @ c) ** 2).sum(axis=0) + penalty * c.sum(axis=0)


@pytest.mark.parametrize(
    ("hematoxylin", "eosin"),
    [
        (H, E),
        (np.array(TARGET.stains[0]), np.array(TARGET.stains[1])),
        (np.array([0.7, 0.6, 0.38]), np.array([0.3, 0.8, 0.5])),
    ],
)
def test_known_stains_are_recovered_within_a_degree(hematoxylin: np.ndarray, eosin: np.ndarray) -> None:
    for seed in range(3):
        fit = VAHADANE.estimate(mixture(hematoxylin, eosin, seed=seed))
        assert degrees(fit.stains, [hematoxylin, eosin]).max() < 1
        assert fit.max_concentrations == pytest.approx((1.97, 1.19), rel=0.05)
        assert fit.residual < 0.03


@pytest.mark.parametrize("genotype", GENOTYPES)
def test_penalty_biases_phantoms_with_few_pixels_of_one_stain(genotype: str) -> None:
    phantom = draw_phantom(genotype, width_px=512, height_px=512, mpp=0.5, rng=np.random.default_rng(0))
    truth = (phantom.truth.stain.hematoxylin, phantom.truth.stain.eosin)
    pixels = phantom.image.reshape(-1, 3)
    error = [degrees(Vahadane(penalty=penalty).estimate(pixels).stains, truth).max() for penalty in (0.002, 0.02, 0.1)]
    assert error == sorted(error)
    assert error[0] < 2.5
    assert error[1] < 5


def test_concentrations_without_penalty_are_non_negative_least_squares() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        stains, density = random_stains(rng), rng.normal(0.5, 0.7, (3, 100))
        expected = np.array([nnls(stains.T, pixel)[0] for pixel in density.T]).T
        assert concentrations(density, stains, penalty=0) == pytest.approx(expected, abs=1e-9)


def test_concentrations_minimize_the_objective_on_a_grid() -> None:
    stains = np.array([H, E])
    density = np.array([[0.9, 1.2, 0.7], [0.7, 0.7, 0.2], [0.1, 0.7, 0.6], [0.03, 0.05, 0.02]]).T
    optimal = concentrations(density, stains, penalty=0.1)
    assert (optimal > 0).T.tolist() == [[True, True], [True, False], [False, True], [False, False]]
    grid = np.stack(np.meshgrid(*[np.linspace(0, 2, 401)] * 2)).reshape(2, -1)
    for pixel, c in zip(density.T, optimal.T, strict=True):
        costs = cost(pixel[:, None], stains, grid, penalty=0.1)
        assert cost(pixel[:, None], stains, c[:, None], penalty=0.1)[0] <= costs.min()
        assert grid[:, costs.argmin()] == pytest.approx(c, abs=0.01)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.02, 0.1, 0.5]))
@settings(max_examples=20)
def test_objective_never_increases(seed: int, penalty: float) -> None:
    rng = np.random.default_rng(seed)
    density, counts = rng.gamma(1.0, 0.5, (3, 200)), rng.integers(1, 9, 200)
    stains, costs = random_stains(rng), []
    for _ in range(30):
        c = concentrations(density, stains, penalty=penalty)
        costs.append(cost(density, stains, c, penalty=penalty) @ counts)
        stains = update_stains(density, stains, c, counts=counts)
        costs.append(cost(density, stains, c, penalty=penalty) @ counts)
        assert stains.min() >= 0
        assert np.linalg.norm(stains, axis=1) == pytest.approx(1)
    assert all(after <= before * (1 + 1e-12) for before, after in pairwise(costs))
    assert costs[-1] < costs[0]


def test_updated_stain_is_optimal_among_unit_vectors() -> None:
    rng = np.random.default_rng(0)
    density, counts = rng.gamma(1.0, 0.5, (3, 200)), rng.integers(1, 9, 200)
    c = concentrations(density, random_stains(rng), penalty=0.1)
    first, second = update_stains(density, random_stains(rng), c, counts=counts)
    least = cost(density, np.array([first, second]), c, penalty=0.1) @ counts
    for other in np.abs(rng.normal(second, 0.1, (500, 3))):
        assert least <= cost(density, np.array([first, other / np.linalg.norm(other)]), c, penalty=0.1) @ counts


@pytest.mark.parametrize("penalty", [0.02, 0.1])
def test_factorization_agrees_with_a_general_optimizer(penalty: float) -> None:
    density = stained(mixture(H, E, pixels=3000))

    def mean_cost(numbers: np.ndarray) -> float:
        stains = np.abs(numbers.reshape(2, 3))
        stains = stains / np.linalg.norm(stains, axis=1, keepdims=True)
        c = concentrations(density, stains, penalty=penalty)
        return float(cost(density, stains, c, penalty=penalty).mean())

    start = np.array([[0.8, 0.5, 0.3], [0.1, 0.9, 0.4]])
    start /= np.linalg.norm(start, axis=1, keepdims=True)
    stains = factorize(density, start, counts=np.ones(density.shape[1], int), penalty=penalty)
    best = minimize(mean_cost, np.ravel([H, E]), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12})
    assert mean_cost(stains.ravel()) == pytest.approx(best.fun, rel=1e-6)
    assert degrees(stains, np.abs(best.x.reshape(2, 3))).max() < 0.1


def test_binned_densities_preserve_count_and_sum() -> None:
    density = stained(mixture(H, E))
    means, counts = bin_densities(density.astype(np.float32))
    assert counts.sum() == density.shape[1]
    assert means.shape[1] < density.shape[1] / 10
    assert means @ counts == pytest.approx(density.sum(axis=1), rel=1e-6)
    unbinned = factorize(density, np.array([H, E]), counts=np.ones(density.shape[1], int), penalty=0.02)
    assert degrees(factorize(means, np.array([H, E]), counts=counts, penalty=0.02), unbinned).max() < 0.1


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_fit_does_not_depend_on_the_order_of_pixels(seed: int) -> None:
    pixels = mixture(H, E, pixels=20_000)
    shuffled = VAHADANE.estimate(np.random.default_rng(seed).permutation(pixels))
    assert degrees(shuffled.stains, VAHADANE.estimate(pixels).stains).max() < 0.02


def test_two_stainings_of_the_same_tissue_become_similar() -> None:
    other_h, other_e = np.array([0.75, 0.6, 0.27]), np.array([0.2, 0.9, 0.38])
    pale = mixture(H, E).reshape(200, 200, 3)
    strong = mixture(other_h, other_e).reshape(200, 200, 3)
    a, b = (VAHADANE.apply(x, VAHADANE.estimate(x.reshape(-1, 3))) for x in (pale, strong))
    assert np.abs(a.astype(float) - b).mean() < np.abs(pale.astype(float) - strong).mean() / 3


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.empty((0, 3), np.uint8), "too-few-pixels"),
        (np.full((5000, 3), 255, np.uint8), "too-few-pixels"),
        (noisy((240, 240, 242), spread=3), "too-few-pixels"),
        (mixture(H, E, pixels=150), "too-few-pixels"),
        (np.zeros((5000, 3), np.uint8), "black"),
        (noisy((4, 4, 4), spread=2), "black"),
        (np.full((5000, 3), 128, np.uint8), "uniform"),
        (np.full((5000, 3), (150, 80, 140), np.uint8), "uniform"),
        (noisy((120, 60, 130), spread=1), "one-stain"),
        (np.repeat(np.arange(20, 200, dtype=np.uint8)[:, None], 3, axis=1).repeat(30, axis=0), "one-stain"),
        (mixture(H, H), "one-stain"),
        (mixture(E, E), "one-stain"),
        (np.concatenate([mixture(H, E), noisy((30, 150, 60), spread=8, pixels=20_000)]), "foreign-color"),
        (np.concatenate([mixture(H, E), noisy((30, 110, 190), spread=8, pixels=20_000)]), "foreign-color"),
    ],
)
def test_pixels_without_two_stains_give_a_reason(pixels: np.ndarray, reason: str) -> None:
    assert reason in REASONS
    with pytest.raises(StainError, match=f"^{reason}$"):
        VAHADANE.estimate(pixels)


@pytest.mark.parametrize(
    "start",
    [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],  # the second is absent from all pixels
        [[0.6, 0.8, 0.0], [0.6, 0.8, 0.0]],
        [[0.8, 0.0, 0.6], [0.6, 0.0, 0.8]],
    ],
)
def test_single_stain_is_detected(start: list[list[float]]) -> None:
    density = np.array([0.8, 0.0, 0.6])[:, None] * np.linspace(0.2, 2, 50)
    with pytest.raises(StainError, match=r"^one-stain$"):
        factorize(density, np.array(start), counts=np.ones(50, int), penalty=0.02)


@pytest.mark.real
def test_real_tiles_have_a_fit_or_a_reason(shared_data: Path) -> None:
    folders = ["glioma_tcga_lgg", "glioma_cpm15", "crc_val_he_7k_sample", "lc25000_768", "osteosarcoma_10x"]
    paths = [path for folder in folders for path in sorted((shared_data / folder / "images").iterdir())[::4]]
    reasons, angles, residuals = [], [], []
    for path in paths:
        pixels = np.asarray(Image.open(path).convert("RGB"))[:400, :400].reshape(-1, 3)
        try:
            macenko = Macenko().estimate(pixels)
            fit = VAHADANE.estimate(pixels)
        except StainError as error:
            reasons.append(str(error))
            continue
        assert np.isfinite([*fit.stains[0], *fit.stains[1], *fit.max_concentrations]).all()
        angles.append(degrees(fit.stains, macenko.stains))
        residuals.append((fit.residual, macenko.residual))
    assert set(reasons) <= set(REASONS)
    assert len(reasons) < 0.2 * len(paths)
    assert (np.median(angles, axis=0) < 5).all()
    ours, peer = np.array(residuals).T
    assert ours.mean() < peer.mean()
