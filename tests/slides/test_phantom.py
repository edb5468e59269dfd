"""Phantom slides: images agree with the recorded truth, and other programs can read the files."""

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import openslide
import pyarrow.parquet as pq
import pytest
import shapely
import tifffile
from PIL import Image, ImageDraw
from scipy.ndimage import distance_transform_edt

from histosynth.errors import HistosynthError
from histosynth.slides.phantom import GENOTYPES, Cohort, Phantom, draw_cohort, draw_phantom
from histosynth.slides.phantom.nuclei import KINDS
from histosynth.slides.phantom.optics import unmix

SIZE, MPP = 640, 0.5
CODEL, NON_CODEL, WILDTYPE = GENOTYPES


@pytest.fixture(scope="module")
def phantoms() -> dict[str, Phantom]:
    return {g: draw_phantom(g, width_px=SIZE, height_px=SIZE, mpp=MPP, rng=np.random.default_rng(7)) for g in GENOTYPES}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return draw_cohort(tmp_path_factory.mktemp("a"), patients_per_genotype=1, size_px=600, workers=1, progress=False)


def of_kind(phantom: Phantom, kind: str) -> np.ndarray:
    return phantom.truth.nuclei[phantom.truth.nuclei["kind"] == KINDS.index(kind)]


def eccentricity(cells: np.ndarray) -> np.ndarray:
    return np.sqrt(1.0 - (cells["minor"] / cells["major"]) ** 2)


def density_at(phantom: Phantom, inner_um: float, outer_um: float) -> float:
    """Return the median optical density (sum of channels) in the tumor, between two distances from any nucleus."""
    nuclei = Image.new("L", (SIZE, SIZE), 0)
    pen, theta = ImageDraw.Draw(nuclei), np.linspace(0.0, 2.0 * np.pi, 40)
    for cell in phantom.truth.nuclei:
        u, v = cell["major"] * np.cos(theta), cell["minor"] * np.sin(theta)
        cos, sin = np.cos(cell["angle"]), np.sin(cell["angle"])
        x, y = cell["x"] + u * cos - v * sin, cell["y"] + u * sin + v * cos
        pen.polygon(list(zip(x.tolist(), y.tolist(), strict=True)), fill=1)
    gap = distance_transform_edt(np.asarray(nuclei) == 0) * MPP
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    tumor = shapely.contains_xy(shapely.Polygon(phantom.outline).buffer(-20 / MPP), columns, rows)
    density = -np.log10(np.maximum(phantom.image, 1) / 255.0).sum(-1)
    return float(np.median(density[(gap > inner_um) & (gap < outer_um) & tumor]))


@pytest.mark.parametrize("genotype", GENOTYPES)
def test_true_nuclei_contain_hematoxylin(phantoms: dict[str, Phantom], genotype: str) -> None:
    phantom = phantoms[genotype]
    concentrations = unmix(phantom.image, phantom.truth.stain)
    hematoxylin = concentrations[..., 0]
    for kind, least in {"tumor": 0.35, "glia": 0.35}.items():
        cells = of_kind(phantom, kind)
        here = hematoxylin[cells["y"].astype(int), cells["x"].astype(int)]
        assert np.median(here) > least
        assert (here > np.median(hematoxylin) + 0.1).mean() > 0.95
    # Nuclei displace eosin: the stains do not merely darken together.
    cells = of_kind(phantom, "tumor")
    eosin = concentrations[cells["y"].astype(int), cells["x"].astype(int), 1]
    assert np.median(eosin) < 0.5 * np.median(hematoxylin[cells["y"].astype(int), cells["x"].astype(int)])


@pytest.mark.parametrize("genotype", GENOTYPES)
def test_glass_has_its_recorded_color(phantoms: dict[str, Phantom], genotype: str) -> None:
    phantom = phantoms[genotype]
    corner = phantom.image[:25, :25].reshape(-1, 3).mean(0)
    assert corner == pytest.approx(255.0 * 10.0 ** -np.array(phantom.truth.stain.glass), abs=4.0)
    assert corner.min() > 235


def test_morphology_distinguishes_the_genotypes(phantoms: dict[str, Phantom]) -> None:
    tumor = {genotype: of_kind(phantom, "tumor") for genotype, phantom in phantoms.items()}
    area_mm2 = {g: shapely.Polygon(p.outline).area * MPP**2 * 1e-6 for g, p in phantoms.items()}
    density = {g: len(cells) / area_mm2[g] for g, cells in tumor.items()}
    assert density[WILDTYPE] > 1.4 * density[CODEL] > 1.4 * 1.4 * density[NON_CODEL]
    round_, long = np.median(eccentricity(tumor[CODEL])), np.median(eccentricity(tumor[NON_CODEL]))
    assert round_ < 0.5 < 0.8 < long
    spread = {g: np.std(np.log(np.sqrt(cells["major"] * cells["minor"]))) for g, cells in tumor.items()}
    assert spread[CODEL] < 0.08 < 0.2 < spread[WILDTYPE]
    assert len(of_kind(phantoms[WILDTYPE], "mitosis")) > 0 < len(of_kind(phantoms[WILDTYPE], "debris"))
    for genotype in (CODEL, NON_CODEL):
        assert len(of_kind(phantoms[genotype], "mitosis")) == 0 == len(of_kind(phantoms[genotype], "debris"))


def test_only_codeleted_nuclei_have_halos(phantoms: dict[str, Phantom]) -> None:
    near = {g: density_at(p, 1.4, 2.4) for g, p in phantoms.items()}
    far = {g: density_at(p, 3.5, 6.0) for g, p in phantoms.items()}
    assert near[CODEL] < 0.5 * far[CODEL]
    assert near[NON_CODEL] > 0.85 * far[NON_CODEL]
    assert near[WILDTYPE] > 0.85 * far[WILDTYPE]


@pytest.mark.parametrize("seed", range(3))
def test_outline_is_valid_and_separates_tumor_from_brain(seed: int) -> None:
    phantom = draw_phantom(CODEL, width_px=500, height_px=400, mpp=0.5, rng=np.random.default_rng(seed))
    outline, section = shapely.Polygon(phantom.outline), shapely.Polygon(phantom.truth.section)
    assert outline.is_valid
    assert section.contains(outline)
    assert shapely.box(0, 0, 500, 400).contains(section)
    cells = phantom.truth.nuclei
    inside = shapely.contains_xy(outline, cells["x"], cells["y"])
    tumor, glia = cells["kind"] == KINDS.index("tumor"), cells["kind"] == KINDS.index("glia")
    assert inside[tumor].mean() > 0.95
    assert inside[glia].mean() < 0.3
    assert shapely.contains_xy(section, cells["x"], cells["y"]).all()


def test_size_of_nuclei_is_set_in_microns() -> None:
    fine = draw_phantom(CODEL, width_px=500, height_px=500, mpp=0.5, rng=np.random.default_rng(1))
    coarse = draw_phantom(CODEL, width_px=250, height_px=250, mpp=1.0, rng=np.random.default_rng(1))
    radius = [np.median(of_kind(p, "tumor")["major"]) * mpp for p, mpp in ((fine, 0.5), (coarse, 1.0))]
    assert radius[0] == pytest.approx(radius[1], rel=0.03)
    assert radius[0] == pytest.approx(3.9, abs=0.3)


@pytest.mark.parametrize("genotype", GENOTYPES)
@pytest.mark.parametrize(("width", "height", "mpp"), [(200, 200, 0.5), (200, 700, 0.5), (51, 60, 2.0), (40, 30, 4.0)])
def test_small_narrow_and_coarse_slides_are_drawn(genotype: str, width: int, height: int, mpp: float) -> None:
    phantom = draw_phantom(genotype, width_px=width, height_px=height, mpp=mpp, rng=np.random.default_rng(0))
    assert phantom.image.shape == (height, width, 3)
    # Tissue in the center, glass in the corner.
    assert phantom.image[height // 2, width // 2].mean() < phantom.image[0, 0].mean() > 230


def test_openslide_reads_the_pyramid_with_its_microns_per_pixel(cohort: Cohort) -> None:
    slides = sorted(cohort.slides.iterdir())
    assert [path.name for path in slides] == [f"PHAN-01-000{n}-01Z-00-DX1.tif" for n in (1, 2, 3)]
    for path in slides:
        with openslide.OpenSlide(path) as slide:
            assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.5, rel=1e-6)
            assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(0.5, rel=1e-6)
            assert slide.level_dimensions == ((600, 600), (150, 150), (38, 38))
            assert slide.level_downsamples == pytest.approx((1.0, 4.0, 16.0), rel=0.02)
            whole = np.asarray(slide.read_region((0, 0), 0, (600, 600)))[..., :3].astype(float)
            small = np.asarray(slide.read_region((0, 0), 1, (150, 150)))[..., :3].astype(float)
        drawn = json.loads((cohort.truth / f"{path.stem}.json").read_text())
        again = draw_phantom(drawn["genotype"], width_px=600, height_px=600, mpp=0.5,
                     rng=np.random.default_rng(np.random.SeedSequence(drawn["seed"])))  # fmt: skip
        assert np.abs(whole - again.image).mean() < 4.0
        assert np.abs(small - whole.reshape(150, 4, 150, 4, 3).mean((1, 3))).mean() < 5.0
        with tifffile.TiffFile(path) as tiff:
            assert all(page.is_tiled and not {"Software", "DateTime"} & set(page.tags.keys()) for page in tiff.pages)


def test_cohort_is_reproducible_with_any_number_of_workers(cohort: Cohort, tmp_path: Path) -> None:
    def digest(root: Path) -> dict[str, str]:
        files = [path for path in root.rglob("*") if path.is_file()]
        return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    draw_cohort(tmp_path, patients_per_genotype=1, size_px=600, workers=2, progress=False)
    first = digest(cohort.slides.parent)
    assert len(first) == 3 * 4 + 1
    assert digest(tmp_path) == first
    draw_cohort(tmp_path, patients_per_genotype=1, size_px=300, seed=1, workers=1, progress=False)
    assert not set(digest(tmp_path).values()) & set(first.values()) - {first["labels.csv"]}


def test_labels_outlines_and_truth_match_the_slides(cohort: Cohort) -> None:
    with cohort.labels.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == list(GENOTYPES)
    stains = set()
    for row in rows:
        assert row["patient_id"] == row["slide_id"][:12]
        collection = json.loads((cohort.outlines / f"{row['slide_id']}.geojson").read_text())
        (feature,) = collection["features"]
        assert feature["properties"]["classification"]["name"] == "Tumor"
        assert feature["properties"]["objectType"] == "annotation"
        outline = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert outline.is_valid
        assert shapely.box(0, 0, 600, 600).contains(outline)
        truth = json.loads((cohort.truth / f"{row['slide_id']}.json").read_text())
        assert truth["genotype"] == row["label"]
        stains.add(str(truth["stain"]))
        table = pq.read_table(cohort.truth / f"{row['slide_id']}.parquet").to_pydict()
        tumor = np.array(table["kind"]) == "tumor"
        inside = shapely.contains_xy(outline, table["x"], table["y"])
        assert inside[tumor].mean() > 0.95
        assert set(table["kind"]) <= set(KINDS) - {"red_cell"}
        assert np.sqrt(np.array(table["major"]) * table["minor"]) == pytest.approx(np.array(table["radius"]), rel=1e-5)
        assert (np.array(table["eccentricity"]) < 1.0).all()
    assert len(stains) == 3


def test_invalid_arguments_are_errors(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(HistosynthError, match="did you mean 'IDHwt'"):
        draw_phantom("IDHwild", width_px=400, height_px=400, mpp=0.5, rng=rng)
    with pytest.raises(HistosynthError, match="too small for a tumor"):
        draw_phantom(CODEL, width_px=64, height_px=400, mpp=0.5, rng=rng)
    with pytest.raises(HistosynthError, match="use at least 1"):
        draw_cohort(tmp_path, patients_per_genotype=0)
