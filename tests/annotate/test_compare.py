"""`histosynth annotate compare` on slides: the numbers, the page, and what cannot be compared."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import shapely
from click.testing import CliRunner
from PIL import Image

from histosynth.cli.annotate.compare import command
from histosynth.errors import HistosynthError

SIDE = 1024
MPP = 0.5


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Two regions of pink tissue; both annotators outlined the first, and only Anna the second."""
    for folder in ("slides", "anna", "ben"):
        (tmp_path / folder).mkdir()
    tissue = np.full((SIDE, SIDE, 3), (200, 120, 170), np.uint8)
    for name in ("one", "two"):
        Image.fromarray(tissue).save(tmp_path / "slides" / f"{name}.png")
        outline(tmp_path / "anna" / f"{name}.geojson", shapely.box(0, 0, 512, 512))
    outline(tmp_path / "ben" / "one.geojson", shapely.box(256, 0, 768, 512))
    return tmp_path


def outline(path: Path, shape: shapely.Polygon, name: str = "Tumor") -> None:
    properties = {"objectType": "annotation", "classification": {"name": name, "color": [200, 0, 0]}}
    feature = {"type": "Feature", "geometry": shapely.geometry.mapping(shape), "properties": properties}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))


def run(cohort: Path, *words: str) -> str:
    sides = [str(cohort / "anna"), str(cohort / "ben"), "--slides", str(cohort / "slides"), "--mpp", str(MPP)]
    done = CliRunner().invoke(command, [*sides, "--quiet", *words], catch_exceptions=True)
    if done.exception:
        raise done.exception
    return done.stdout


def test_numbers_and_page(cohort: Path) -> None:
    """Half of each outline is common: Dice 1/2. A square has 64 px: 8 x 8 of 16 x 16 for each, half of them common."""
    sets = ["--set", "patches.region_px=128", "--set", "patches.patch_px=32", "--json", "--out", str(cohort / "out")]
    result = json.loads(run(cohort, *sets))
    pooled = result["pooled"]
    assert pooled["dice"] == pytest.approx(0.5)
    assert pooled["iou"] == pytest.approx(1 / 3)
    assert pooled["squares"] == 256
    chance = (64 / 256) ** 2 + (192 / 256) ** 2
    assert pooled["kappa"] == pytest.approx(((256 - 64) / 256 - chance) / (1 - chance))
    assert pooled["area_a_mm2"] == pytest.approx((512 * MPP / 1000) ** 2)
    assert [slide["slide_id"] for slide in result["slides"]] == ["one", "two"]
    assert result["slides"][0]["agreement"] == pooled
    assert result["slides"][1] == {
        "slide_id": "two", "agreement": None, "reason": f"no outline in {cohort / 'ben'}",
    }  # fmt: skip
    assert json.loads((cohort / "out" / "agreement.json").read_text()) == result
    page = (cohort / "out" / "index.html").read_text()
    assert "Dice 0.500: anna and ben" in page
    assert "Not compared: two" in page
    assert page.count("data:image/jpeg") == 1
    assert not re.search(r"(src|href)=\"http", page)


def test_the_table_shows_the_same(cohort: Path) -> None:
    text = run(cohort)
    assert re.search(r"^all slides +0\.500 +0\.333 ", text, re.MULTILINE)
    assert "not compared: two, no outline in" in text


def test_other_classes(cohort: Path) -> None:
    outline(cohort / "anna" / "one.geojson", shapely.box(0, 0, 100, 100), "Invasive front")
    with pytest.raises(HistosynthError, match="Invasive front"):  # the classes that are there
        run(cohort)
    outline(cohort / "ben" / "one.geojson", shapely.box(0, 0, 100, 100), "invasive front")
    (cohort / "anna" / "two.geojson").unlink()
    result = json.loads(run(cohort, "--tumor-class", "Invasive front", "--json"))
    assert result["pooled"]["dice"] == 1
    assert len(result["slides"]) == 2


def test_nothing_in_common_is_an_error(cohort: Path) -> None:
    (cohort / "ben" / "one.geojson").unlink()
    with pytest.raises(HistosynthError, match="no slide has outlines in both"):
        run(cohort, "--out", str(cohort / "out"))
    assert not (cohort / "out").exists()
    (cohort / "ben").rmdir()
    with pytest.raises(HistosynthError, match=r"no folder of outlines '.*ben'; pass"):
        run(cohort)


@pytest.mark.real
def test_outlines_of_a_real_slide_with_themselves(tmp_path: Path, shared_data: Path) -> None:
    slide = shared_data / "slides" / "CMU-1-Small-Region.svs"
    (tmp_path / "a").mkdir()
    corners = [(300, 300), (1900, 500), (1200, 1300), (2000, 2600), (1000, 1900), (200, 2500), (700, 1200)]
    star = shapely.Polygon(corners)
    outline(tmp_path / "a" / "CMU-1-Small-Region.geojson", star)
    words = [str(tmp_path / "a"), str(tmp_path / "a"), "--slides", str(slide), "--quiet", "--json"]
    pooled = json.loads(CliRunner().invoke(command, words, catch_exceptions=False).stdout)["pooled"]
    assert (pooled["dice"], pooled["kappa"], pooled["boundary_95_um"]) == (1, 1, pytest.approx(0, abs=1e-9))
    assert pooled["area_a_mm2"] == pytest.approx(star.area * (0.499 / 1000) ** 2)
