"""Classes, areas against rasters of other libraries, and size; whatever the format."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from histosynth.errors import HistosynthError
from histosynth.slides.annotations import SlideFrame, read_outlines, summarize_outlines
from histosynth.slides.annotations.areas import make_valid

Ring = list[tuple[float, float]]
SIDE = 800


def circle(x: float, y: float, radius: float, points: int = 90) -> Ring:
    turn = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return [(x + radius * np.cos(t), y + radius * np.sin(t)) for t in turn]


def star(points: int = 5) -> Ring:
    """A star drawn in one stroke: it winds twice around its middle."""
    return [
        (400 + 390 * np.sin(4 * np.pi * k / points), 400 - 390 * np.cos(4 * np.pi * k / points)) for k in range(points)
    ]


def geojson(rings: list[Ring], holes: list[Ring], name: str) -> str:
    features = [
        {
            "type": "Feature",
            "properties": {"classification": {"name": name}},
            "geometry": {"type": "Polygon", "coordinates": [[*r, r[0]] for r in ([ring, *holes] if not n else [ring])]},
        }
        for n, ring in enumerate(rings)
    ]
    return json.dumps({"type": "FeatureCollection", "features": features})


def layer(rings: list[Ring], holes: list[Ring], name: str) -> str:
    regions = [(ring, 0) for ring in rings] + [(ring, 1) for ring in holes]
    return (
        f'<Annotation Name="{name}"><Regions>'
        + "".join(
            f'<Region Type="0" NegativeROA="{negative}"><Vertices>'
            + "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in ring)
            + "</Vertices></Region>"
            for ring, negative in regions
        )
        + "</Regions></Annotation>"
    )


def imagescope(rings: list[Ring], holes: list[Ring], name: str) -> str:
    return f"<Annotations>{layer(rings, holes, name)}</Annotations>"


def asap(rings: list[Ring], name: str) -> str:
    return (
        "<ASAP_Annotations><Annotations>"
        + "".join(
            f'<Annotation Type="Polygon" PartOfGroup="{name}"><Coordinates>'
            + "".join(f'<Coordinate Order="{n}" X="{x}" Y="{y}"/>' for n, (x, y) in enumerate(ring))
            + "</Coordinates></Annotation>"
            for ring in rings
        )
        + "</Annotations></ASAP_Annotations>"
    )


def raster(area: shapely.Geometry) -> np.ndarray:
    """Pixel centers inside, (SIDE, SIDE): shapely's test of points, which knows nothing of areas."""
    x, y = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)
    return shapely.contains_xy(area, x, y)


def painted(rings: list[Ring], holes: list[Ring]) -> np.ndarray:
    """What Pillow paints, at four times the size, (SIDE, SIDE)."""
    image = Image.new("1", (4 * SIDE, 4 * SIDE))
    draw = ImageDraw.Draw(image)
    for ring, color in [*((ring, 1) for ring in rings), *((ring, 0) for ring in holes)]:
        draw.polygon([(4 * x - 0.5, 4 * y - 0.5) for x, y in ring], fill=color)
    return np.asarray(image)


@pytest.mark.parametrize("write", [geojson, imagescope])
def test_the_rastered_area_is_that_of_the_polygons(read: Any, write: Any) -> None:
    rings, holes = [circle(300, 300, 250), circle(600, 600, 150, 7)], [circle(250, 250, 80), circle(420, 330, 60, 5)]
    found = read(write(rings, holes, "Tumor"))
    assert raster(found.tumor).sum() == pytest.approx(found.tumor.area, rel=0.005)
    assert painted(rings, holes).sum() / 16 == pytest.approx(found.tumor.area, rel=0.005)


@pytest.mark.parametrize("write", [lambda ring: geojson([ring], [], "Tumor"), lambda ring: asap([ring], "Tumor")])
def test_a_ring_that_crosses_itself_keeps_all_it_winds_around(read: Any, write: Any) -> None:
    found = read(write(star()))
    assert found.counts == {"polygons": 1, "repaired": 1}
    assert raster(found.tumor).sum() == pytest.approx(found.tumor.area, rel=0.005)
    assert raster(found.tumor)[400, 400]  # the middle, around which it winds twice
    edge = 390**2 * 1.12256994  # area of a pentagram in a circle of radius 1, its middle counted once
    assert found.tumor.area == pytest.approx(edge, rel=1e-6)


@settings(max_examples=20)
@given(
    st.lists(st.tuples(*[st.floats(100, 700)] * 2, st.floats(20, 90), st.integers(3, 40)), min_size=1, max_size=5),
    st.lists(st.tuples(*[st.floats(100, 700)] * 2, st.floats(20, 90), st.integers(3, 40)), max_size=4),
)
def test_excluded_areas_are_taken_away(
    tmp_path_factory: pytest.TempPathFactory, tumors: list[Any], others: list[Any]
) -> None:
    path = tmp_path_factory.mktemp("e") / "a.xml"
    rings, away = [circle(*t) for t in tumors], [circle(*o) for o in others]
    path.write_text(f"<Annotations>{layer(rings, [], 'Tumor')}{layer(away, [], 'Necrosis')}</Annotations>")
    truth = raster(shapely.union_all([shapely.Polygon(r) for r in rings]))
    for ring in away:
        truth &= ~raster(shapely.Polygon(ring))
    if truth.sum() < 100:
        return
    found = read_outlines(path, tumor_classes=["tumor"], exclude_classes=["NECROSIS"])
    assert (raster(found.tumor) == truth).all()
    assert found.counts.get("excluded", 0) == len(away)


def test_several_classes_in_any_case(read: Any) -> None:
    content = (
        f"<Annotations>{layer([circle(100, 100, 50)], [], 'IDHwt')}{layer([circle(300, 100, 50)], [], 'Infiltration')}"
    )
    content += f"{layer([circle(500, 100, 50)], [], 'Normal')}</Annotations>"
    one = shapely.Polygon(circle(0, 0, 50)).area
    found = read(content, "idhWT", " infiltration ", exclude_classes=["Necrosis", "blood"])
    assert found.tumor.area == pytest.approx(2 * one)
    assert found.counts == {"polygons": 2, "other_classes": 1, "excluded_absent": 2}


@pytest.mark.parametrize(
    ("tumor", "excluded", "message"),
    [
        (["Cancer"], [], "have no class 'Cancer' but 'Tumor' .1., 'Necrosis' .1.; name one by --tumor-class NAME"),
        (["Cancer", "Glioma"], [], "have no class 'Cancer' or 'Glioma' but"),
        (["Tumor"], ["Necrosis"], "nothing is left of class 'Tumor' without 'Necrosis'"),
        (["Tumor"], ["TUMOR"], "class 'TUMOR' is to be tumor and to be excluded"),
    ],
)
def test_classes_that_leave_nothing(read: Any, tumor: list[str], excluded: list[str], message: str) -> None:
    ring, larger = circle(100, 100, 50), circle(100, 100, 60)
    content = f"<Annotations>{layer([ring], [], 'Tumor')}{layer([larger], [], 'Necrosis')}</Annotations>"
    with pytest.raises(HistosynthError, match=message):
        read(content, *tumor, exclude_classes=excluded)


def test_without_any_class_the_error_says_how_to_take_all(read: Any) -> None:
    content = imagescope([circle(100, 100, 50)], [], "")
    with pytest.raises(HistosynthError, match=r"take all of them by --tumor-class '\(no class\)'"):
        read(content)
    assert read(content, "(no class)").counts == {"polygons": 1}


@pytest.mark.parametrize("write", [geojson, imagescope])
def test_a_million_vertices(read: Any, write: Any) -> None:
    count = 1_000_000
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
    radius = 20_000 + 500 * np.sin(2000 * turn)
    ring = np.round(np.c_[30_000 + radius * np.cos(turn), 30_000 + radius * np.sin(turn)], 3).tolist()
    content = write([ring], [], "Tumor")
    start = time.perf_counter()
    found = read(content)
    assert time.perf_counter() - start < 120  # a few seconds on an idle core
    assert found.tumor.area == pytest.approx(np.pi * (20_000**2 + 500**2 / 2), rel=1e-4)


def ndpa(ring: Ring, frame: SlideFrame) -> str:
    """The inverse of the frame: pixels into nanometers from the center of the glass."""
    assert None not in (frame.mpp_x, frame.mpp_y, frame.center_x_nm, frame.center_y_nm)
    points = "".join(
        f"<point><x>{(x - frame.width_px / 2) * 1000 * frame.mpp_x + frame.center_x_nm}</x>"
        f"<y>{(y - frame.height_px / 2) * 1000 * frame.mpp_y + frame.center_y_nm}</y></point>"
        for x, y in ring
    )
    return (
        '<annotations><ndpviewstate><title>Tumor</title><annotation type="freehand"><closed>1</closed>'
        f"<pointlist>{points}</pointlist></annotation></ndpviewstate></annotations>"
    )


@given(st.lists(st.tuples(st.floats(0, 7000), st.floats(0, 5000)), min_size=3, max_size=12))
def test_one_outline_in_every_format_is_the_same_tumor(tmp_path_factory: pytest.TempPathFactory, points: Ring) -> None:
    frame = SlideFrame(
        slide_id="s", width_px=8000, height_px=6000, mpp_x=0.23, mpp_y=0.24, center_x_nm=-3e6, center_y_nm=7e6
    )
    ring = [(round(x, 2), round(y, 2)) for x, y in points]
    assume(sum(part.area for part in make_valid(shapely.Polygon(ring))[0]) > 1)
    path = tmp_path_factory.mktemp("f") / "a.xml"
    contents = [geojson([ring], [], "Tumor"), imagescope([ring], [], "Tumor"), asap([ring], "Tumor")]
    contents += [contents[1].replace("Vertex ", "V ").replace('Type="0"', 'Type="Polygon"'), ndpa(ring, frame)]
    tumors = []
    for content in contents:
        path.write_text(content)
        tumors.append(read_outlines(path, tumor_classes=["Tumor"], frame=frame))
    assert len({tumor.format for tumor in tumors}) == 5
    for tumor in tumors[1:]:
        difference = shapely.symmetric_difference(tumors[0].tumor, tumor.tumor).area
        assert difference < 0.01 * tumors[0].tumor.area + 1


def test_what_a_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(imagescope([circle(300, 300, 250)], [circle(300, 300, 100)], "Tumor"))
    net = shapely.Polygon(circle(0, 0, 250)).area - shapely.Polygon(circle(0, 0, 100)).area
    assert summarize_outlines(path) == {
        "format": "ImageScope XML",
        "classes": {"Tumor": {"areas": 1, "area_px2": round(net)}},
    }
