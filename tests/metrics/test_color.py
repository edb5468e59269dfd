from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from histosynth.errors import HistosynthError
from histosynth.metrics.color import (
    QUANTILES,
    ColorStatistics,
    color_distance,
    common_stains,
    concentration_distances,
    concentration_quantiles,
    concentrations,
    fit_stains,
    mean_shift,
)
from histosynth.slides.phantom import GENOTYPES, draw_phantom
from histosynth.stain.distance import stain_distance
from histosynth.stain.optical_density import to_density, to_rgb
from histosynth.stain.two_stains import TARGET

STAINS = np.array(TARGET.stains)


def tinted(pixels: np.ndarray, gain: tuple[float, float, float]) -> np.ndarray:
    """Return the pixels with dyes that absorb more, as a share of each channel's density; glass remains glass."""
    return to_rgb(to_density(pixels) * (1 + np.float32(gain)))


def mixture(share: float, *, seed: int = 0, eosin: float = 1.0) -> np.ndarray:
    """Return tissue pixels with this share of nuclei, in the target's stains; `eosin` scales its concentrations."""
    rng = np.random.default_rng(seed)
    nucleus = rng.random(40_000) < share
    c_h = np.where(nucleus, rng.uniform(1.0, 2.0, 40_000), rng.uniform(0, 0.05, 40_000))
    c_e = np.where(nucleus, rng.uniform(0, 0.05, 40_000), eosin * rng.uniform(0.5, 1.0, 40_000))
    return to_rgb((np.stack([c_h, c_e], axis=1) @ STAINS).astype(np.float32))


def gaussian(mean: tuple[float, ...], root: np.ndarray, *, seed: int) -> np.ndarray:
    density = np.random.default_rng(seed).normal(size=(60_000, 3)) @ root + mean
    return to_rgb(density.astype(np.float32))


def test_gaussian_densities_have_the_distance_of_their_gaussians() -> None:
    """With covariances that share their axes, d² = |Δμ|² + |Δσ|²; only rounding to 8 bits is lost."""
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    narrow, wide = turn * (0.05, 0.02, 0.01) @ turn.T, turn * (0.15, 0.06, 0.01) @ turn.T
    a = ColorStatistics.of(gaussian((0.8, 0.9, 0.7), narrow, seed=1))
    b = ColorStatistics.of(gaussian((0.9, 0.8, 0.7), wide, seed=2))
    assert color_distance(a, b) == pytest.approx(np.sqrt(0.02 + 0.10**2 + 0.04**2), rel=0.01)
    assert a.density.covariance == pytest.approx(narrow @ narrow.T, abs=1e-4)
    assert mean_shift(a, b) == pytest.approx([-0.1, 0.1, 0.0], abs=2e-3)


@given(seed=st.integers(0, 10_000))
def test_half_the_light_is_a_shift_by_ln_2(seed: int) -> None:
    """I + 1 is even, so that half of it is also a pixel value, and nothing is rounded."""
    bright = np.random.default_rng(seed).integers(10, 90, (500, 3)) * 2
    a, b = (ColorStatistics.of((light - 1).astype(np.uint8)) for light in (bright // 2, bright))
    assert mean_shift(a, b) == pytest.approx(np.full(3, np.log(2)), abs=1e-6)
    assert color_distance(a, b) == pytest.approx(np.sqrt(3) * np.log(2), abs=1e-6)
    assert color_distance(b, a) == pytest.approx(color_distance(a, b), abs=1e-12)
    assert color_distance(a, a) == pytest.approx(0, abs=1e-7)


def test_densities_scaled_by_k_are_k_minus_1_root_mean_squares_away() -> None:
    """From X to kX the optimal transport is x → kx: d² = (k - 1)² E|x|²."""
    pixels = gaussian((0.5, 0.7, 0.6), np.diag([0.04, 0.06, 0.05]), seed=3)
    density = to_density(pixels).astype(np.float64)
    a, b = ColorStatistics.of(pixels), ColorStatistics.of(to_rgb(1.5 * to_density(pixels)))
    assert color_distance(a, b) == pytest.approx(0.5 * np.sqrt(np.mean(np.sum(density**2, axis=1))), rel=2e-3)


def test_glass_is_excluded() -> None:
    tissue = mixture(0.3).reshape(200, 200, 3)
    mixed = np.concatenate([tissue, np.full_like(tissue, 238)])
    a, b = ColorStatistics.of(tissue), ColorStatistics.of(mixed)
    assert color_distance(a, b) == pytest.approx(0, abs=1e-7)
    assert (a.tissue, b.tissue) == (1.0, 0.5)
    assert b.density.n == 40_000
    assert len(concentrations(mixed, stains=TARGET)) == 40_000


def test_glass_alone_has_no_color() -> None:
    with pytest.raises(HistosynthError, match="2 "):
        ColorStatistics.of(np.full((4, 8, 8, 3), 250, np.uint8))


def test_unmixing_recovers_the_concentrations() -> None:
    c = np.random.default_rng(4).uniform((0.5, 0.3), (1.5, 0.9), (5_000, 2))
    amounts = concentrations(to_rgb((c @ STAINS).astype(np.float32)), stains=TARGET)
    assert np.abs(amounts - c).mean() < 0.02
    assert concentration_quantiles(amounts) == pytest.approx(np.quantile(c, QUANTILES, axis=0).T, abs=0.03)


def test_the_distance_of_twice_the_eosin_is_its_mean() -> None:
    """W1 from X to 2X, X >= 0, is E X; hematoxylin does not change."""
    once, twice = (concentrations(mixture(0.3, eosin=e), stains=TARGET) for e in (1.0, 2.0))
    hematoxylin, eosin = concentration_distances(once, twice)
    assert eosin == pytest.approx(once[:, 1].mean(), rel=0.03)
    assert hematoxylin < 0.01
    assert concentration_distances(twice, once) == pytest.approx((hematoxylin, eosin))
    assert concentration_distances(once, once) == (0, 0)


def test_more_nuclei_change_the_color_but_not_the_stains() -> None:
    few, many, pinker = mixture(0.2, seed=1), mixture(0.6, seed=2), mixture(0.2, seed=3, eosin=1.4)
    colors = [color_distance(ColorStatistics.of(few), ColorStatistics.of(other)) for other in (many, pinker)]
    stains = [stain_distance(fit_stains(few), fit_stains(other)) for other in (many, pinker)]
    assert colors[0] > 0.2 > 0.05 > stains[0], "content alone"
    assert stains[1] > 0.2, "color alone"


def test_the_stain_distance_of_a_stronger_hematoxylin() -> None:
    """1.5 times a unit vector of hematoxylin: 0.5 m_H in one of two stains."""
    m_h, m_e = TARGET.max_concentrations
    stronger = type(TARGET).from_dict(TARGET.to_dict() | {"max_concentrations": (1.5 * m_h, m_e)})
    assert stain_distance(TARGET, stronger) == pytest.approx(0.5 * m_h / np.sqrt(2), rel=1e-3)
    assert stain_distance(stronger, TARGET) == stain_distance(TARGET, stronger)
    assert stain_distance(TARGET, TARGET) == 0


def test_a_single_color_falls_back_to_the_default_stains() -> None:
    assert common_stains(np.full((32, 32, 3), 120, np.uint8)) == (TARGET, False)
    fit, own = common_stains(mixture(0.4).reshape(200, 200, 3))
    assert own
    assert np.array(fit.stains) == pytest.approx(STAINS, abs=0.05)


def assert_distances_grow(pixels: np.ndarray) -> None:
    """Check that a stronger tint increases all three measures."""
    start, stains = ColorStatistics.of(pixels), fit_stains(pixels)
    distances = []
    for strength in (0.0, 0.05, 0.1, 0.2, 0.4):
        other = tinted(pixels, (0.2 * strength, strength, 0.5 * strength))
        near = concentrations(pixels, stains=stains), concentrations(other, stains=stains)
        shifted = stain_distance(stains, fit_stains(other))
        distances.append(
            (color_distance(start, ColorStatistics.of(other)), sum(concentration_distances(*near)), shifted)
        )
    assert distances[0] == pytest.approx((0, 0, 0), abs=0.01)
    assert (np.diff(distances, axis=0) > 0).all(), distances


def test_distances_of_a_phantom_grow_with_its_tint() -> None:
    assert_distances_grow(
        draw_phantom(GENOTYPES[0], width_px=400, height_px=320, mpp=0.5, rng=np.random.default_rng(1)).image
    )


@pytest.mark.real
def test_distances_of_real_tissue_grow_with_its_tint(shared_data: Path) -> None:
    for path in sorted((shared_data / "glioma_cpm15" / "images").glob("*.png"))[:4]:
        assert_distances_grow(np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)[::19])


@pytest.mark.real
def test_real_tissue_has_a_floor(shared_data: Path) -> None:
    """Tiles of one laboratory: two halves that mix the same cases are closer than any two cases; a tint is farther."""
    tiles: dict[str, list[np.ndarray]] = {}
    for path in sorted((shared_data / "osteosarcoma_10x" / "images").iterdir()):
        case = next((c for c in ("Case-3-", "Case-4-", "Case-48-") if c in path.name), "other")
        tiles.setdefault(case, []).append(np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)[::97])
    every = [tile for group in tiles.values() for tile in group]
    even, odd = ColorStatistics.of(np.concatenate(every[::2])), np.concatenate(every[1::2])
    floor = color_distance(ColorStatistics.of(odd), even)
    cases = [ColorStatistics.of(np.concatenate(tiles[c])) for c in ("Case-3-", "Case-4-", "Case-48-")]
    assert 0.02 < floor < min(color_distance(a, b) for a, b in combinations(cases, 2))
    assert color_distance(ColorStatistics.of(tinted(odd, (0.5, 0.5, 0.5))), even) > 2 * floor
