"""Quality control: closed forms of the measures, and flaws added to phantoms and to real tissue."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from histosynth.config import PatchSettings
from histosynth.patches.quality import (
    bright_share,
    clipped_share,
    find_flaw,
    glass_share,
    ink_share,
    line_length,
    sample_lattice,
    sharpness,
)
from histosynth.slides.phantom import GENOTYPES, draw_phantom

SETTINGS = PatchSettings()
INKS = {"green": (1.3, 0.35, 0.9), "blue": (1.6, 0.8, 0.15), "black": (1.8, 1.8, 1.7)}


@pytest.fixture(scope="module")
def tissue() -> np.ndarray:
    """Return 256 x 256 px of the tumor of a phantom at 0.5 um per pixel."""
    phantom = draw_phantom("IDHwt", width_px=768, height_px=768, mpp=0.5, rng=np.random.default_rng(1))
    return phantom.image[256:512, 256:512]


def gray(values: np.ndarray) -> np.ndarray:
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)


def test_sharpness_of_noise_slope_and_sine() -> None:
    rng = np.random.default_rng(0)
    assert sharpness(gray(rng.integers(0, 256, (300, 300)))) == pytest.approx(1, abs=0.02)
    slope = gray(np.add.outer(7 * np.arange(18), 7 * np.arange(18)))
    assert sharpness(slope) == pytest.approx((2 * 7**2 - 4) / (2 * 28**2 - 4))
    # A sine of period p: E[(f(x + d) - f(x))^2] = 2 sin^2(pi d / p), times the same constant.
    period = 24
    wave = 127 + 120 * np.sin(2 * np.pi * np.arange(240) / period)
    expected = np.sin(np.pi / period) ** 2 / np.sin(4 * np.pi / period) ** 2
    assert sharpness(gray(np.tile(wave, (240, 1)))) == pytest.approx(expected, rel=0.03)
    assert sharpness(gray(np.full((40, 40), 9))) == 0
    assert sharpness(gray(np.eye(8))) == 1


def test_sharpness_is_independent_of_stain_and_decreases_with_blur(tissue: np.ndarray) -> None:
    sharp = sharpness(sample_lattice(tissue, mpp=0.5))
    pale = (255 - 0.5 * (255 - tissue.astype(float))).astype(np.uint8)
    assert sharpness(sample_lattice(pale, mpp=0.5)) == pytest.approx(sharp, rel=0.03)
    blurred = [sharpness(sample_lattice(ndimage.gaussian_filter(tissue, (s, s, 0)), mpp=0.5)) for s in (1, 2, 4, 8)]
    assert (np.diff([sharp, *blurred]) < 0).all()


def test_shares_count_points() -> None:
    image = np.full((80, 80, 3), (200, 120, 170), np.uint8)
    image[:16] = 255
    image[16:24] = 245
    assert clipped_share(image) == pytest.approx(0.2)
    assert glass_share(image) == pytest.approx(0.3)
    assert bright_share(image) == 1
    image[40:56] = (240 * np.exp(-np.array(INKS["green"]))).astype(np.uint8)
    assert ink_share(image) == pytest.approx(2 / 10)


@pytest.mark.parametrize(("mpp", "step"), [(0.25, 4), (0.5, 2), (0.499, 2), (1.0, 1), (2.0, 1)])
def test_lattice_has_a_pitch_of_one_micron(mpp: float, step: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(sample_lattice(image, mpp=mpp), image[::step, ::step])


def test_intact_tissue_has_no_flaw(tissue: np.ndarray) -> None:
    assert find_flaw(tissue, mpp=0.5, settings=SETTINGS) is None


def ruled(
    tissue: np.ndarray, width: int = 4, *, part: float = 1.0, color: tuple[int, int, int] = (70, 72, 70)
) -> np.ndarray:
    y, x = np.mgrid[:256, :256]
    return np.where(((abs(y - 90 - 0.3 * x) < width / 2) & (x < part * 256))[..., None], np.uint8(color), tissue)


def stroked(tissue: np.ndarray, ink: str, share: float = 0.25) -> np.ndarray:
    out = tissue.copy()
    out[:, : int(share * 256)] = (out[:, : int(share * 256)] * np.exp(-np.array(INKS[ink]))).astype(np.uint8)
    return out


def test_each_flaw_is_named(tissue: np.ndarray) -> None:
    glass = np.full_like(tissue, 244)
    glass[:20, :20] = tissue[:20, :20]
    white = tissue.copy()
    white[:200] = 255
    white[200:205] = 235
    flaws = {
        "near_blank": [np.full_like(tissue, 244), np.full_like(tissue, (200, 120, 170)), glass],
        "overexposed": [white],
        "underexposed": [(tissue * 0.3).astype(np.uint8)],
        "pen": [stroked(tissue, ink) for ink in INKS],
        "dark_line": [ruled(tissue), ruled(tissue, part=0.7), ruled(tissue, 12).transpose(1, 0, 2)],
        "blurred": [ndimage.gaussian_filter(tissue, (s, s, 0)) for s in (8, 16)],
    }
    for name, images in flaws.items():
        assert {find_flaw(image, mpp=0.5, settings=SETTINGS) for image in images} == {name}


def test_small_flaws_are_tolerated(tissue: np.ndarray) -> None:
    mild = [
        stroked(tissue, "green", 0.06),
        ruled(tissue, part=0.4),
        ruled(tissue, color=(90, 40, 120)),  # colored: a fiber or a fold
        ndimage.gaussian_filter(tissue, (0.7, 0.7, 0)),
    ]
    assert [find_flaw(image, mpp=0.5, settings=SETTINGS) for image in mild] == [None] * 4
    assert line_length(sample_lattice(ruled(tissue, part=0.4), mpp=0.5)) == pytest.approx(0.4, abs=0.03)


def test_thresholds_follow_the_settings(tissue: np.ndarray) -> None:
    loose = SETTINGS.model_copy(update={"min_sharpness": 0.0, "max_ink": 1.0})
    assert find_flaw(ndimage.gaussian_filter(tissue, (8, 8, 0)), mpp=0.5, settings=loose) is None
    assert find_flaw(stroked(tissue, "blue"), mpp=0.5, settings=loose) is None
    strict = SETTINGS.model_copy(update={"min_sharpness": 0.9})
    assert find_flaw(tissue, mpp=0.5, settings=strict) == "blurred"


@pytest.mark.parametrize("genotype", GENOTYPES)
@pytest.mark.parametrize("mpp", [0.25, 0.5])
def test_phantoms_have_no_flaw(genotype: str, mpp: float) -> None:
    size = round(400 / mpp)
    image = draw_phantom(genotype, width_px=size, height_px=size, mpp=mpp, rng=np.random.default_rng(2)).image
    side = round(40 / mpp)
    inner = range(size // 4, 3 * size // 4 - side, side)
    flaws = [find_flaw(image[y : y + side, x : x + side], mpp=mpp, settings=SETTINGS) for y in inner for x in inner]
    assert flaws.count(None) == len(flaws) > 9


def read_tiles(folder: Path, step: int) -> list[np.ndarray]:
    tiles = []
    for path in sorted(folder.iterdir())[::step]:
        image = np.asarray(Image.open(path).convert("RGB"))
        side = min(256, *image.shape[:2])
        tiles += [image[:side, :side], image[-side:, -side:]]
    return tiles


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "mpp", "passing"),
    [
        ("crc_val_he_7k_sample", 0.5, 1.0),
        ("glioma_cpm15", 0.5, 1.0),
        ("glioma_pathomic_roi", 0.5, 1.0),
        ("glioma_tcga_lgg", 0.5, 1.0),
        ("lc25000_768", 0.5, 0.9),  # upscaled by the authors of the data set, and soft
    ],
)
def test_real_tissue_passes_unless_blurred_or_inked(shared_data: Path, name: str, mpp: float, passing: float) -> None:
    tiles = read_tiles(shared_data / name / "images", 4)
    assert np.mean([find_flaw(tile, mpp=mpp, settings=SETTINGS) is None for tile in tiles]) >= passing
    blurred = [ndimage.gaussian_filter(tile, (6, 6, 0)) for tile in tiles]
    assert np.mean([find_flaw(tile, mpp=mpp, settings=SETTINGS) is not None for tile in blurred]) > 0.9
    inked = [(tile * np.exp(-np.array(INKS["green"]))).astype(np.uint8) for tile in tiles]
    assert np.mean([find_flaw(tile, mpp=mpp, settings=SETTINGS) is not None for tile in inked]) > 0.9
