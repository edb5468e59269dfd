from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy import ndimage

from histosynth.slides.annotations import read_outlines
from histosynth.slides.open import open_slide
from histosynth.slides.phantom import draw_phantom
from histosynth.slides.tissue import TissueMask, otsu, tissue_mask
from histosynth.slides.types import Box

GLASS, PINK, PALE, NUCLEUS = (243, 243, 245), (215, 140, 180), (232, 208, 226), (90, 60, 130)


NOISE = np.random.default_rng(0).normal(0, 1, (1600, 1600, 1)).astype(np.float32)


def slide(color: tuple[int, int, int], *, noise: float = 3.0) -> np.ndarray:
    return np.clip(np.array(color, np.float32) + noise * NOISE, 0, 255).astype(np.uint8)


def mask_of(path: Path, pixels: np.ndarray) -> TissueMask:
    Image.fromarray(pixels).save(path / "a.tif")
    with open_slide(path / "a.tif") as opened:
        return tissue_mask(opened)


@pytest.mark.parametrize("color", [PINK, PALE])
def test_disk_of_tissue_on_glass_is_detected(tmp_path: Path, color: tuple[int, int, int]) -> None:
    pixels = slide(GLASS)
    y, x = np.mgrid[:1600, :1600]
    disk = (x - 800) ** 2 + (y - 700) ** 2 < 400**2
    pixels[disk] = slide(color)[disk]
    tissue = mask_of(tmp_path, pixels)
    assert tissue.mask.mean() == pytest.approx(disk.mean(), rel=0.03)
    assert tissue.fraction(Box(x=700, y=600, width=200, height=200)) == pytest.approx(1)
    assert tissue.fraction(Box(x=0, y=1300, width=300, height=300)) == 0


def test_dark_ink_does_not_hide_pale_tissue(tmp_path: Path) -> None:
    pixels = slide(GLASS)
    pixels[200:1000, 200:1000] = slide(PALE)[:800, :800]
    pixels[1200:1500, 200:1400] = (15, 20, 30)
    assert mask_of(tmp_path, pixels).fraction(Box(x=250, y=250, width=700, height=700)) == pytest.approx(1)


# Optical densities (natural logarithm) of marker strokes.
INKS = {"green": (1.3, 0.35, 0.9), "blue": (1.6, 0.8, 0.15), "red": (0.1, 1.3, 1.5), "black": (1.8, 1.8, 1.7)}


def stroked(image: np.ndarray, ink: str, *, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw a ring of ink and a line through it, with soft edges; return the image and the mask of the ink."""
    height, length = image.shape[:2]
    y, x = np.mgrid[:height, :length]
    ring = abs(np.hypot(x - length / 2, y - height / 2) - 0.42 * min(height, length)) < width / 2
    stroke = ring | (abs(y - height / 2 - 0.2 * (x - length / 2)) < width / 2)
    soft = ndimage.gaussian_filter(stroke.astype(np.float32), width / 20)[..., None]
    return np.clip(image * np.exp(-soft * np.array(INKS[ink])), 0, 255).astype(np.uint8), stroke


@pytest.mark.parametrize("ink", INKS)
def test_ink_is_not_tissue_and_leaves_the_rest_unchanged(tmp_path: Path, ink: str) -> None:
    phantom = draw_phantom("IDHmut-codel", width_px=1024, height_px=1024, mpp=0.5, rng=np.random.default_rng(4)).image
    image, stroke = stroked(phantom, ink, width=40)
    clean, inked = mask_of(tmp_path, phantom).mask, mask_of(tmp_path, image).mask
    cells = stroke.reshape(128, 8, 128, 8).mean((1, 3))
    assert inked[cells > 0].mean() < 0.02
    elsewhere = ~ndimage.binary_dilation(cells > 0, iterations=5)
    assert (inked[elsewhere] != clean[elsewhere]).mean() < 0.002


@pytest.mark.parametrize("color", [PINK, PALE, NUCLEUS])
def test_image_of_tissue_alone_is_all_tissue(tmp_path: Path, color: tuple[int, int, int]) -> None:
    pixels = slide(color)
    pixels[::40] = pixels[1::40] = pixels[2::40] = NUCLEUS
    assert mask_of(tmp_path, pixels).mask.all()


@pytest.mark.parametrize("noise", [0.0, 2.0, 6.0])
@pytest.mark.parametrize("color", [(255, 255, 255), GLASS, (226, 224, 228)])
def test_blank_slide_has_no_tissue(tmp_path: Path, color: tuple[int, int, int], noise: float) -> None:
    assert not mask_of(tmp_path, slide(color, noise=noise)).mask.any()


def test_specks_and_small_holes_are_removed(tmp_path: Path) -> None:
    pixels = slide(GLASS)
    pixels[100:1100, 100:1100] = PINK
    pixels[300:312, 300:312] = GLASS
    pixels[600:900, 600:900] = GLASS
    pixels[1400:1410, 1400:1410] = PINK
    tissue = mask_of(tmp_path, pixels)
    assert tissue.fraction(Box(x=280, y=280, width=60, height=60)) == pytest.approx(1)
    assert tissue.fraction(Box(x=650, y=650, width=200, height=200)) == 0
    assert tissue.fraction(Box(x=1350, y=1350, width=100, height=100)) == 0


@given(
    arrays(np.bool_, (6, 9)),
    st.tuples(st.integers(-30, 60), st.integers(-30, 40), st.integers(1, 50), st.integers(1, 50)),
)
def test_fraction_is_the_share_of_the_mask_in_the_box(mask: np.ndarray, corner: tuple[int, int, int, int]) -> None:
    x, y, width, height = corner
    tissue = TissueMask(mask, downsample_x=4.5, downsample_y=3.75)
    cells = [shapely.box(c * 4.5, r * 3.75, (c + 1) * 4.5, (r + 1) * 3.75) for r, c in np.argwhere(mask)]
    box = shapely.box(x, y, x + width, y + height)
    expected = sum(cell.intersection(box).area for cell in cells) / box.area
    assert tissue.fraction(Box(x=x, y=y, width=width, height=height)) == pytest.approx(expected, abs=1e-12)


@given(st.integers(2, 40), st.integers(60, 200), st.integers(1, 5))
def test_otsu_splits_two_levels(low: int, high: int, share: int) -> None:
    values = np.array([low] * 10 + [high] * 10 * share, float)
    assert low <= otsu(values) < high


def test_otsu_has_the_largest_variance_between_classes() -> None:
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.normal(0.2, 0.05, 3000), rng.normal(0.7, 0.1, 1000)])

    def within(threshold: float) -> float:
        low, high = values[values <= threshold], values[values > threshold]
        return float(low.var() * low.size + high.var() * high.size)

    best = min(np.linspace(0.25, 0.8, 200), key=within)
    assert otsu(values) == pytest.approx(best, abs=0.02)


@pytest.mark.real
def test_real_tissue_pasted_on_glass_is_detected(shared_data: Path) -> None:
    cohort = shared_data / "lgg_mini"
    for path in sorted((cohort / "slides").iterdir()):
        tumor = read_outlines(cohort / "annotations" / f"{path.stem}.geojson", tumor_classes=["Tumor"]).tumor
        with open_slide(path) as opened:
            tissue = tissue_mask(opened)
            area = opened.width_px * opened.height_px
        for part in tumor.geoms:
            x, y, right, bottom = map(int, part.bounds)
            assert tissue.fraction(Box(x=x, y=y, width=right - x, height=bottom - y)) > 0.99
        assert tissue.mask.mean() * area == pytest.approx(2 * 1024**2, rel=0.03)


@pytest.mark.real
@pytest.mark.parametrize("ink", INKS)
def test_ink_on_the_glass_of_real_slides_is_not_tissue(shared_data: Path, tmp_path: Path, ink: str) -> None:
    for name in ("lgg_mini/slides/TCGA-DU-5847-01Z-00-DX1.svs", "slides/CMU-1-Small-Region.svs"):
        with open_slide(shared_data / name) as opened:
            image = opened.thumbnail(1200)
        clean = mask_of(tmp_path, image).mask
        inked, stroke = stroked(image, ink, width=30)
        detected = mask_of(tmp_path, inked).mask
        cells = np.asarray(Image.fromarray(stroke).resize(detected.shape[::-1])) > 0
        assert detected[cells & ~ndimage.binary_dilation(clean, iterations=3)].mean() < 0.01
        elsewhere = ~ndimage.binary_dilation(cells, iterations=6)
        assert (detected[elsewhere] != clean[elsewhere]).mean() < 0.005


@pytest.mark.real
def test_tissue_of_real_slides_and_regions(shared_data: Path) -> None:
    with open_slide(shared_data / "slides" / "CMU-1-Small-Region.svs") as opened:
        tissue = tissue_mask(opened)
    assert tissue.fraction(Box(x=1700, y=200, width=400, height=400)) < 0.01
    assert tissue.fraction(Box(x=900, y=1200, width=300, height=300)) > 0.95
    assert 0.3 < tissue.mask.mean() < 0.45
    with open_slide(shared_data / "slides" / "TCGA-CR-7395-01A-01-TS1.svs") as opened:
        tissue = tissue_mask(opened)
    assert ndimage.label(tissue.mask)[1] == 1
    for path in sorted((shared_data / "glioma_tcga_lgg" / "images").iterdir())[::4]:
        with open_slide(path) as opened:
            assert tissue_mask(opened).mask.mean() > 0.97
