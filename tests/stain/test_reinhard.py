import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.color import lab2rgb, rgb2lab

from histosynth.stain import REASONS, StainError, normalizers, tissue_pixels
from histosynth.stain.reinhard import TARGET, LabFit, Reinhard, transfer_lab

REINHARD = Reinhard()
PALE = LabFit(mean=(66.0, 24.0, -14.0), std=(9.0, 5.0, 4.0), pixels=1)
STRONG = LabFit(mean=(48.0, 35.0, -22.0), std=(12.0, 6.0, 7.0), pixels=1)


def drawn(fit: LabFit, *, seed: int = 0, pixels: int = 40_000) -> np.ndarray:
    """Draw pixels (N, 3) whose Lab is normal with the moments of a fit, truncated at two standard deviations."""
    offsets = np.clip(np.random.default_rng(seed).normal(size=(pixels, 3)), -2, 2)
    return np.rint(255 * lab2rgb(fit.mean + offsets * fit.std)).astype(np.uint8)


def plain_reinhard(image: np.ndarray, source: LabFit, target: LabFit) -> np.ndarray:
    """Return the map of the module in float64, with lightness by interpolation; from 0 to 255, not rounded.

    NaN where f(Z) is negative, far beyond any color: skimage clips it to zero.
    """
    lab = rgb2lab(image)
    s = np.divide(target.std, source.std)
    bend = min(85, source.mean[0] + (85 - target.mean[0]) / s[0])
    line = [target.mean[0] + s[0] * (x - source.mean[0]) for x in (-100, bend)]
    w = np.interp(lab[..., 0], [bend, 95], [1, 0])
    out = np.empty_like(lab)
    out[..., 0] = np.interp(lab[..., 0], [-100, bend, 95, 200], [*line, 95, 200])
    for c in (1, 2):
        out[..., c] = w * target.mean[c] + s[c] ** w * (lab[..., c] - w * source.mean[c])
    beyond = (out[..., 0] + 16) / 116 < out[..., 2] / 200
    return np.where(beyond[..., None], np.nan, 255 * lab2rgb(out))


def fits(lightness: tuple[float, float]) -> st.SearchStrategy[LabFit]:
    mean = st.tuples(st.floats(*lightness), st.floats(5, 45), st.floats(-45, 10))
    std = st.tuples(st.floats(6, 18), st.floats(3, 12), st.floats(3, 12))
    return st.builds(LabFit, mean=mean, std=std, pixels=st.just(1))


def test_fit_is_mean_and_standard_deviation_in_lab() -> None:
    pixels = drawn(PALE)
    lab = rgb2lab(pixels)
    fit = REINHARD.estimate(pixels)
    assert fit.mean == pytest.approx(lab.mean(axis=0), abs=1e-3)
    assert fit.std == pytest.approx(lab.std(axis=0), abs=1e-3)
    assert fit.pixels == len(pixels)


@pytest.mark.parametrize(("source", "target"), [(PALE, STRONG), (STRONG, TARGET), (PALE, TARGET)])
def test_moments_become_those_of_the_target(source: LabFit, target: LabFit) -> None:
    rng = np.random.default_rng(0)
    lab = np.clip(rng.normal(size=(3, 5000)), -1, 1)
    lab -= lab.mean(axis=1, keepdims=True)
    lab /= lab.std(axis=1, keepdims=True)
    lab = (lab * np.array(source.std)[:, None] + np.array(source.mean)[:, None]).astype(np.float32)
    transfer_lab(lab, source, target)
    assert lab.mean(axis=1, dtype=float) == pytest.approx(target.mean, abs=1e-4)
    assert lab.std(axis=1, dtype=float) == pytest.approx(target.std, abs=1e-4)


def test_two_stainings_of_the_same_tissue_become_similar() -> None:
    pale, strong = drawn(PALE), drawn(STRONG)
    a, b = (REINHARD.apply(pixels, REINHARD.estimate(pixels)).astype(float) for pixels in (pale, strong))
    assert np.abs(a - b).mean() < 1 < np.abs(pale.astype(float) - strong).mean() / 20


@given(fits((35, 80)), fits((35, 80)), st.integers(0, 2**32 - 1))
@settings(max_examples=25)
@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
def test_image_agrees_with_the_exact_formula_within_a_level(source: LabFit, target: LabFit, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    mapped = Reinhard(target).apply(image, source)
    exact = plain_reinhard(image, source, target)
    assert np.isfinite(exact).mean() > 0.2
    assert np.nanmax(np.abs(mapped - exact)) < 1


@given(fits((30, 88)), fits((30, 88)))
def test_map_is_monotonic_in_lightness_and_inverted_by_exchanging_fits(source: LabFit, target: LabFit) -> None:
    lightness = np.linspace(1, 99, 200)
    lab = np.stack([lightness, 30 * np.sin(lightness), 30 * np.cos(lightness)]).astype(np.float32)
    moved = lab.copy()
    transfer_lab(moved, source, target)
    assert (np.diff(moved[0]) > 0).all()
    transfer_lab(moved, target, source)
    assert np.abs(moved - lab).max() < 0.01


@pytest.mark.parametrize("fit", [PALE, STRONG])
def test_invert_restores_the_image_up_to_rounding(fit: LabFit) -> None:
    image = drawn(fit).reshape(200, 200, 3)
    normalized = REINHARD.apply(image, fit)
    lossless = (normalized > 0).all(axis=2) & (normalized < 255).all(axis=2)
    assert lossless.mean() > 0.97
    error = np.abs(REINHARD.invert(normalized, fit).astype(int) - image)[lossless]
    assert error.mean() < 0.1
    assert error.max() <= 1


def test_glass_is_unchanged() -> None:
    glass = np.random.default_rng(0).integers(241, 256, (4000, 1), dtype=np.uint8).repeat(3, axis=1)
    assert np.array_equal(Reinhard(STRONG).apply(glass, PALE), glass)
    tinted = plain_affine(glass, PALE, STRONG)
    assert np.abs(tinted - glass).max(axis=1).min() > 15  # by the original map of Reinhard


def plain_affine(pixels: np.ndarray, source: LabFit, target: LabFit) -> np.ndarray:
    return 255 * lab2rgb((rgb2lab(pixels) - source.mean) * np.divide(target.std, source.std) + target.mean)


def test_image_in_target_colors_is_unchanged() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert np.array_equal(REINHARD.apply(image, TARGET), image)


def test_image_without_fit_is_unchanged() -> None:
    image = drawn(PALE).reshape(200, 200, 3)
    assert REINHARD.apply(image, None) is image
    assert REINHARD.invert(image, None) is image


def test_target_is_the_median_of_fits_and_is_restored_from_json() -> None:
    target = REINHARD.with_target([PALE, STRONG, TARGET]).target
    assert target.mean == (60.6849, 24.0, -14.0)
    assert target.std == (12.0, 5.6613, 5.916)
    assert target.pixels == 2
    assert LabFit.from_dict(json.loads(json.dumps(target.to_dict()))) == target


def noisy(color: tuple[int, int, int], *, spread: float) -> np.ndarray:
    return np.clip(np.rint(np.random.default_rng(0).normal(color, spread, (5000, 3))), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.empty((0, 3), np.uint8), "too-few-pixels"),
        (drawn(PALE, pixels=150), "too-few-pixels"),
        (np.zeros((5000, 3), np.uint8), "black"),
        (noisy((4, 4, 4), spread=2), "black"),
        (np.full((5000, 3), (150, 80, 140), np.uint8), "uniform"),
        (np.linspace((20,) * 3, (200,) * 3, 5000).astype(np.uint8), "uniform"),  # gray: a* and b* do not vary
        (noisy((128, 128, 128), spread=10), "foreign-color"),
        (noisy((150, 100, 60), spread=10), "foreign-color"),  # diaminobenzidine
        (noisy((30, 120, 70), spread=10), "foreign-color"),  # green ink
    ],
)
def test_unsuitable_pixels_give_a_reason(pixels: np.ndarray, reason: str) -> None:
    assert reason in REASONS
    with pytest.raises(StainError, match=f"^{reason}$"):
        REINHARD.estimate(pixels)


@pytest.mark.parametrize("color", [(90, 70, 150), (220, 140, 180), (200, 110, 120)])
def test_one_stain_is_sufficient(color: tuple[int, int, int]) -> None:
    assert REINHARD.estimate(noisy(color, spread=8)).pixels == 5000


def real_tiles(shared_data: Path) -> list[np.ndarray]:
    folders = ["glioma_pathomic_roi", "glioma_cpm15", "crc_val_he_7k_sample", "lc25000_768", "osteosarcoma_10x"]
    paths = [path for folder in folders for path in sorted((shared_data / folder / "images").iterdir())[:60:20]]
    return [np.asarray(Image.open(path).convert("RGB"))[:400:2, :400:2] for path in paths]


@pytest.mark.real
@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
def test_real_tiles_agree_with_the_exact_formula(shared_data: Path) -> None:
    tints = []
    for image in real_tiles(shared_data):
        pixels = image.reshape(-1, 3)
        glass = (pixels > 205).all(axis=1)
        try:
            fit = REINHARD.estimate(tissue_pixels(pixels))
        except StainError:
            assert glass.mean() > 0.99
            continue
        moved = REINHARD.apply(pixels, fit)
        exact = plain_reinhard(pixels, fit, TARGET)
        assert np.isfinite(exact).mean() > 0.9999
        assert np.nanmax(np.abs(moved - exact)) < 0.6
        lab = rgb2lab(pixels), rgb2lab(moved), rgb2lab(plain_affine(pixels, fit, TARGET) / 255)
        assert lab[1][~glass].mean(axis=0) == pytest.approx(TARGET.mean, abs=1.5)
        if glass.mean() > 0.02:
            tints.append([np.linalg.norm(x - lab[0], axis=1)[glass].mean() for x in lab[1:]])
    ours, affine = np.mean(tints, axis=0)
    assert ours < 0.6 * affine


@pytest.mark.real
def test_target_agrees_with_that_of_two_stains(shared_data: Path) -> None:
    macenko, normalized_fits = normalizers["macenko"], []
    for image in real_tiles(shared_data):
        try:
            image = macenko.apply(image, macenko.estimate(tissue_pixels(image.reshape(-1, 3))))
        except StainError:
            continue
        normalized_fits.append(REINHARD.estimate(tissue_pixels(image.reshape(-1, 3))))
    median = LabFit.median(normalized_fits)
    assert median.mean == pytest.approx(TARGET.mean, abs=5)
    assert median.std == pytest.approx(TARGET.std, abs=2)
