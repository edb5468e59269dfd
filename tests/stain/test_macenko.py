from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from histosynth.slides.phantom import GENOTYPES, draw_phantom
from histosynth.stain import StainError, StainFit
from histosynth.stain.macenko import Macenko
from histosynth.stain.normalizer import REASONS
from histosynth.stain.two_stains import TARGET

MACENKO = Macenko()
H, E = np.array([0.6511, 0.7012, 0.2905]), np.array([0.2159, 0.8012, 0.5581])  # default stains of QuPath
DAB = np.array([0.268, 0.570, 0.776])  # Ruifrok & Johnston 2001


def mixture(hematoxylin: np.ndarray, eosin: np.ndarray, *, seed: int = 0, pixels: int = 40_000) -> np.ndarray:
    """Draw pixels (N, 3) of nuclei, of eosin-only matrix and of mixtures, with sensor noise."""
    rng = np.random.default_rng(seed)
    kind = rng.random(pixels)
    c_h = np.where(kind < 0.3, rng.uniform(0.8, 2.0, pixels), np.where(kind < 0.6, 0, rng.uniform(0, 1.5, pixels)))
    c_e = np.where(kind < 0.3, 0, rng.uniform(0.4, 1.2, pixels))
    light = 240 * np.exp(-(c_h[:, None] * hematoxylin + c_e[:, None] * eosin)) - 1
    return np.clip(np.rint(light + rng.normal(0, 0.7, light.shape)), 0, 255).astype(np.uint8)


def degrees(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1))))


def plain_macenko(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Implement the paper differently, in float64: singular vectors, and rotation by the mean angle in the plane."""
    od = -np.log((image.reshape(-1, 3).astype(float) + 1) / 240)
    kept = od[(od >= 0.15).all(axis=1)]
    plane = np.linalg.svd(kept - kept.mean(axis=0), full_matrices=False)[2][:2]
    angle = np.angle((kept @ plane.T) @ np.array([1, 1j]))
    middle = np.angle(np.exp(1j * angle).mean())
    low, high = np.percentile(np.angle(np.exp(1j * (angle - middle))), [1, 99]) + middle
    pair = sorted((np.cos(a) * plane[0] + np.sin(a) * plane[1] for a in (low, high)), key=lambda v: -v[0])
    stains = np.array(pair)
    concentrations = np.linalg.lstsq(stains.T, od.T, rcond=None)[0]
    maxima = np.percentile(concentrations, 99, axis=1)
    mixed = np.array(TARGET.stains).T @ (concentrations * (np.array(TARGET.max_concentrations) / maxima)[:, None])
    return stains, maxima, np.clip(240 * np.exp(-mixed) - 1, 0, 255).T.reshape(image.shape)


@pytest.mark.parametrize(
    ("hematoxylin", "eosin"),
    [
        (H, E),
        (np.array(TARGET.stains[0]), np.array(TARGET.stains[1])),
        (np.array([0.7, 0.6, 0.38]), np.array([0.3, 0.8, 0.5])),
    ],
)
def test_known_stains_are_recovered_within_two_degrees(hematoxylin: np.ndarray, eosin: np.ndarray) -> None:
    for seed in range(3):
        fit = MACENKO.estimate(mixture(hematoxylin, eosin, seed=seed))
        assert degrees(np.array(fit.stains[0]), hematoxylin) < 2
        assert degrees(np.array(fit.stains[1]), eosin) < 2
        assert fit.angle_deg == pytest.approx(degrees(hematoxylin, eosin), abs=2)
        assert fit.max_concentrations == pytest.approx((1.97, 1.19), rel=0.05)
        assert fit.residual < 0.03


def test_fit_agrees_with_an_independent_implementation() -> None:
    image = mixture(H, E).reshape(200, 200, 3)
    stains, maxima, normalized = plain_macenko(image)
    fit = MACENKO.estimate(image.reshape(-1, 3))
    assert np.array(fit.stains) == pytest.approx(stains, abs=1e-4)
    assert fit.max_concentrations == pytest.approx(maxima, rel=1e-4)
    assert np.abs(MACENKO.apply(image, fit) - normalized).max() < 0.6


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_fit_does_not_depend_on_the_order_of_pixels(seed: int) -> None:
    pixels = mixture(H, E, pixels=4000)
    shuffled = MACENKO.estimate(np.random.default_rng(seed).permutation(pixels))
    fit = MACENKO.estimate(pixels)
    assert np.array(shuffled.stains) == pytest.approx(np.array(fit.stains), abs=2e-6)
    assert shuffled.max_concentrations == pytest.approx(fit.max_concentrations, abs=1e-5)


def test_two_stainings_of_the_same_tissue_become_similar() -> None:
    other_h, other_e = np.array([0.75, 0.6, 0.27]), np.array([0.2, 0.9, 0.38])
    pale = mixture(H, E).reshape(200, 200, 3)
    strong = mixture(other_h, other_e).reshape(200, 200, 3)
    a, b = (MACENKO.apply(x, MACENKO.estimate(x.reshape(-1, 3))) for x in (pale, strong))
    before = np.abs(pale.astype(float) - strong).mean()
    assert np.abs(a.astype(float) - b).mean() < before / 3


def test_image_in_target_colors_is_unchanged() -> None:
    image = mixture(np.array(TARGET.stains[0]), np.array(TARGET.stains[1])).reshape(200, 200, 3)
    assert np.abs(MACENKO.apply(image, TARGET).astype(float) - image).mean() < 1


def test_image_without_fit_is_unchanged() -> None:
    image = mixture(H, E).reshape(200, 200, 3)
    assert MACENKO.apply(image, None) is image


def noisy(color: tuple[int, int, int], *, spread: float) -> np.ndarray:
    return np.clip(np.random.default_rng(0).normal(color, spread, (5000, 3)), 0, 255).astype(np.uint8)


def pen(*density: float) -> np.ndarray:
    """Return tissue below the ink of a pen."""
    light = (mixture(H, E).astype(float) + 1) * np.exp(-np.array(density)) - 1
    return np.clip(light, 0, 255).astype(np.uint8)


def mucus_with_a_red_pool() -> np.ndarray:
    """Return hematoxylin alone, and a pool of another red, which is mistaken for eosin."""
    rng = np.random.default_rng(0)
    mucus = rng.normal(0.8, 0.15, (20_000, 1)) * [0.42, 0.78, 0.46] + rng.normal(0, 0.03, (20_000, 3))
    pool = rng.normal(1.0, 0.1, (1500, 1)) * [0.1, 1.7, 1.1] + rng.normal(0, 0.02, (1500, 3))
    return np.clip(240 * np.exp(-np.concatenate([mucus, pool])) - 1, 0, 255).astype(np.uint8)


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
        (mixture(H, H), "one-stain"),
        (pen(0.9, 0.3, 0.5), "foreign-color"),
        (pen(2.1, 1.2, 0.4), "foreign-color"),
        (mixture(H, DAB), "foreign-color"),
        (mixture(H, 0.6 * DAB), "foreign-color"),
        (mucus_with_a_red_pool(), "erases-tissue"),
    ],
)
def test_pixels_without_two_stains_give_a_reason(pixels: np.ndarray, reason: str) -> None:
    assert reason in REASONS
    with pytest.raises(StainError, match=f"^{reason}$"):
        MACENKO.estimate(pixels)


def real_tiles(shared_data: Path) -> list[tuple[np.ndarray, StainFit]]:
    """Return tiles of four laboratories with their fits, which nearly all have."""
    folders = ["glioma_tcga_lgg", "glioma_cpm15", "crc_val_he_7k_sample", "lc25000_768"]
    paths = [path for folder in folders for path in sorted((shared_data / folder / "images").iterdir())[::16]]
    tiles = []
    for path in paths:
        image = np.asarray(Image.open(path).convert("RGB"))[:400, :400]
        with suppress(StainError):
            tiles.append((image, MACENKO.estimate(image.reshape(-1, 3))))
    assert len(tiles) >= len(paths) - 2
    return tiles


@pytest.mark.real
def test_real_tiles_agree_with_an_independent_implementation(shared_data: Path) -> None:
    for image, fit in real_tiles(shared_data):
        stains, maxima, normalized = plain_macenko(image)
        assert np.array(fit.stains) == pytest.approx(stains, abs=1e-3)
        assert fit.max_concentrations == pytest.approx(maxima, rel=2e-3)
        assert np.abs(MACENKO.apply(image, fit) - normalized).mean() < 0.5


def assert_agrees_with_torchstain(image: np.ndarray, fit: StainFit) -> None:
    """Assert that vectors agree to 0.01 and images to 1 of 255, since torchstain truncates and we round."""
    normalizer = pytest.importorskip("torchstain.numpy.normalizers.macenko").NumpyMacenkoNormalizer()
    vectors = normalizer._NumpyMacenkoNormalizer__compute_matrices(image, 240, 1, 0.15)[0]
    assert np.array(fit.stains) == pytest.approx(vectors.T, abs=0.01)
    peer, _, _ = normalizer.normalize(image, stains=False)
    assert np.abs(MACENKO.apply(image, fit).astype(float) - peer).mean() < 1


def test_phantoms_agree_with_torchstain() -> None:
    for genotype in GENOTYPES:
        image = draw_phantom(genotype, width_px=384, height_px=384, mpp=0.5, rng=np.random.default_rng(0)).image
        assert_agrees_with_torchstain(image, MACENKO.estimate(image.reshape(-1, 3)))


@pytest.mark.real
def test_real_tiles_agree_with_torchstain(shared_data: Path) -> None:
    for image, fit in real_tiles(shared_data):
        assert_agrees_with_torchstain(image, fit)


@pytest.mark.real
def test_regions_of_several_laboratories_become_similar(shared_data: Path) -> None:
    paths = sorted((shared_data / "glioma_cpm15" / "images").glob("*.png"))
    images = [np.asarray(Image.open(path).convert("RGB"))[:400, :400] for path in paths]
    normalized = [MACENKO.apply(image, MACENKO.estimate(image.reshape(-1, 3)[::3])) for image in images]
    spread = [np.std([image.mean(axis=(0, 1)) for image in group], axis=0) for group in (images, normalized)]
    assert (spread[1] < 0.7 * spread[0]).all()
