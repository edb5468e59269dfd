"""Outlines with coordinates from the scanned bounds, and properties of slides."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import shapely
from PIL import Image

from histosynth.config import PatchSettings
from histosynth.errors import HistosynthError
from histosynth.patches.selection import tumor_area
from histosynth.slides.annotations import SlideFrame
from histosynth.slides.open import open_slide
from histosynth.slides.types import Box

BOUNDS = Box(x=3000, y=500, width=2000, height=1500)
FRAME = SlideFrame(slide_id="s", width_px=8000, height_px=4000, bounds=BOUNDS)
GEOJSON = (
    '{"type": "Feature", "properties": {"classification": {"name": "Tumor"}}, '
    '"geometry": {"type": "Polygon", "coordinates": [%s]}}'
)


def geojson(*corner: float, side: float = 100) -> str:
    x, y = corner
    return GEOJSON % [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


def asap(*corner: float, side: float = 100) -> str:
    x, y = corner
    points = [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]
    coordinates = "".join(f'<Coordinate X="{px}" Y="{py}"/>' for px, py in points)
    return (
        '<ASAP_Annotations><Annotation Type="Polygon" PartOfGroup="Tumor">'
        f"<Coordinates>{coordinates}</Coordinates></Annotation></ASAP_Annotations>"
    )


@pytest.mark.parametrize(
    ("write", "origin", "given", "x", "y"),
    [
        (geojson, "auto", (10, 20), 3010, 520),
        (geojson, "bounds", (10, 20), 3010, 520),
        (geojson, "slide", (10, 20), 10, 20),
        (geojson, "slide", (3010, 520), 3010, 520),
        (asap, "auto", (3010, 520), 3010, 520),
        (asap, "bounds", (10, 20), 3010, 520),
    ],
)
def test_outlines_are_shifted_by_their_origin(
    read: Any, write: Any, origin: str, given: Any, x: float, y: float
) -> None:
    outlines = read(write(*given), frame=FRAME, origin=origin)
    assert outlines.tumor.equals(shapely.box(x, y, x + 100, y + 100))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (geojson(3010, 600), "corner of the bounds, the default of QuPath GeoJSON, 0% .* the slide, 100%; choose with"),
        (
            asap(10, 20),
            "corner of the slide, the default of ASAP XML, 0% .* the bounds, 100%; choose with --outl",
        ),
    ],
)
def test_auto_rejects_outlines_off_the_scanned_part(read: Any, content: str, message: str) -> None:
    with pytest.raises(HistosynthError, match=message):
        read(content, frame=FRAME)


@pytest.mark.parametrize("bounds", [None, Box(x=0, y=0, width=2000, height=1500)])
def test_origin_has_no_effect_without_bounds(read: Any, bounds: Box | None) -> None:
    frame = SlideFrame(slide_id="s", width_px=8000, height_px=4000, bounds=bounds)
    areas = [read(geojson(3010, 20), frame=frame, origin=origin).tumor for origin in ("auto", "slide", "bounds")]
    assert all(area.equals(shapely.box(3010, 20, 3110, 120)) for area in areas)


def slide(**properties: str) -> Any:
    return SimpleNamespace(slide_id="s", width_px=8000, height_px=4000, mpp=0.5, properties=properties)


def test_frame_reads_the_properties_of_a_slide() -> None:
    stated = {
        "openslide.bounds-x": "3000",
        "openslide.bounds-y": "500",
        "openslide.bounds-width": "2000",
        "openslide.bounds-height": "1500",
        "openslide.mpp-x": "0.25",
        "hamamatsu.XOffsetFromSlideCentre": "-12345",
        "hamamatsu.YOffsetFromSlideCentre": "no number",
    }
    assert SlideFrame.of(slide(**stated)) == SlideFrame(
        slide_id="s", width_px=8000, height_px=4000, mpp_x=0.25, mpp_y=0.5, center_x_nm=-12345, bounds=BOUNDS
    )
    assert SlideFrame.of(slide()).bounds is None
    odd = {"openslide.bounds-x": "nan", "openslide.mpp-x": "352.8", "openslide.mpp-y": "inf"}
    assert SlideFrame.of(slide(**odd)) == SlideFrame.of(slide())


def test_slide_without_properties_has_a_frame(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / "a.png")
    with open_slide(tmp_path / "a.png", mpp=0.5) as opened:
        assert SlideFrame.of(opened) == SlideFrame(slide_id="a", width_px=40, height_px=30, mpp_x=0.5, mpp_y=0.5)
    bare = slide()
    del bare.properties  # a reader of another package
    assert SlideFrame.of(bare).width_px == 8000


def test_tumor_lies_on_the_scanned_part(tmp_path: Path) -> None:
    path = tmp_path / "s.geojson"
    path.write_text(geojson(0, 0, side=1500))
    opened = slide(**{f"openslide.bounds-{side}": str(getattr(BOUNDS, side)) for side in ("x", "y", "width", "height")})
    area = tumor_area(opened, path, mpp=0.5, settings=PatchSettings())
    assert area.polygons.equals(shapely.box(3000, 500, 4500, 2000))
    assert area.record == {
        "format": "QuPath GeoJSON",
        "polygons": 1,
        "tumor_mm2": round(1500**2 * 0.0005**2, 4),
        "share_outside_slide": 0.0,
    }
    area = tumor_area(opened, path, mpp=0.5, settings=PatchSettings(outline_origin="slide"))
    assert area.polygons.equals(shapely.box(0, 0, 1500, 1500))


@pytest.mark.real
def test_frame_of_a_real_slide(shared_data: Path) -> None:
    with open_slide(shared_data / "slides" / "CMU-1-Small-Region.svs") as opened:
        frame = SlideFrame.of(opened)
    assert (frame.width_px, frame.height_px, frame.mpp_x, frame.bounds) == (2220, 2967, 0.499, None)
