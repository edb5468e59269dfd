"""Selection of classes, areas compared with rasters of other libraries, and large files, in all formats."""

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
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return [(x + radius * np.cos(t), y + radius * np.sin(t)) for t in angles]


def star(points: int = 5) -> Ring:
    """Return a star drawn in one stroke: it winds twice around its center."""
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
    """Return the pixels (SIDE, SIDE) whose centers lie inside, by shapely's point test."""
    x, y = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)
    return shapely.contains_xy(area, x, y)


def painted(rings: list[Ring], holes: list[Ring]) -> np.ndarray:
    """Return the polygons as painted by Pillow, at four times the size, (4 SIDE, 4 SIDE)."""
    image = Image.new("1", (4 * SIDE, 4 * SIDE))
    draw = ImageDraw.Draw(image)
    for ring, color in [*((ring, 1) for ring in rings), *((ring, 0) for ring in holes)]:
        draw.polygon([(4 * x - 0.5, 4 * y - 0.5) for x, y in ring], fill=color)
    return np.asarray(image)


@pytest.mark.parametrize("write", [geojson, imagescope])
def test_area_agrees_with_rasters(read: Any, write: Any) -> None:
    rings, holes = [circle(300, 300, 250), circle(600, 600, 150, 7)], [circle(250, 250, 80), circle(420, 330, 60, 5)]
    outlines = read(write(rings, holes, "Tumor"))
    assert raster(outlines.tumor).sum() == pytest.approx(outlines.tumor.area, rel=0.005)
    assert painted(rings, holes).sum() / 16 == pytest.approx(outlines.tumor.area, rel=0.005)


@pytest.mark.parametrize("write", [lambda ring: geojson([ring], [], "Tumor"), lambda ring: asap([ring], "Tumor")])
def test_self_crossing_ring_keeps_all_that_it_winds_around(read: Any, write: Any) -> None:
    outlines = read(write(star()))
    assert outlines.counts == {"polygons": 1, "repaired": 1}
    assert raster(outlines.tumor).sum() == pytest.approx(outlines.tumor.area, rel=0.005)
    assert raster(outlines.tumor)[400, 400]  # the center, around which it winds twice
    pentagram = 390**2 * 1.12256994  # area in a circle of radius 1, the center counted once
    assert outlines.tumor.area == pytest.approx(pentagram, rel=1e-6)


@settings(max_examples=20)
@given(
    st.lists(st.tuples(*[st.floats(100, 700)] * 2, st.floats(20, 90), st.integers(3, 40)), min_size=1, max_size=5),
    st.lists(st.tuples(*[st.floats(100, 700)] * 2, st.floats(20, 90), st.integers(3, 40)), max_size=4),
)
def test_excluded_areas_are_subtracted(
    tmp_path_factory: pytest.TempPathFactory, tumors: list[Any], others: list[Any]
) -> None:
    path = tmp_path_factory.mktemp("e") / "a.xml"
    rings, excluded = [circle(*t) for t in tumors], [circle(*o) for o in others]
    path.write_text(f"<Annotations>{layer(rings, [], 'Tumor')}{layer(excluded, [], 'Necrosis')}</Annotations>")
    truth = raster(shapely.union_all([shapely.Polygon(r) for r in rings]))
    for ring in excluded:
        truth &= ~raster(shapely.Polygon(ring))
    if truth.sum() < 100:
        return
    outlines = read_outlines(path, tumor_classes=["tumor"], exclude_classes=["NECROSIS"])
    assert (raster(outlines.tumor) == truth).all()
    assert outlines.counts.get("excluded", 0) == len(excluded)


def test_several_classes_are_case_insensitive(read: Any) -> None:
    content = (
        f"<Annotations>{layer([circle(100, 100, 50)], [], 'IDHwt')}{layer([circle(300, 100, 50)], [], 'Infiltration')}"
    )
    content += f"{layer([circle(500, 100, 50)], [], 'Normal')}</Annotations>"
    one = shapely.Polygon(circle(0, 0, 50)).area
    outlines = read(content, "idhWT", " infiltration ", exclude_classes=["Necrosis", "blood"])
    assert outlines.tumor.area == pytest.approx(2 * one)
    assert outlines.counts == {"polygons": 2, "other_classes": 1, "excluded_absent": 2}


@pytest.mark.parametrize(
    ("tumor", "excluded", "message"),
    [
        (
            ["Cancer"],
            [],
            "have no class 'Cancer', only 'Tumor' .1., 'Necrosis' .1.; choose one with --tumor-class NAME",
        ),
        (["Cancer", "Glioma"], [], "have no class 'Cancer' or 'Glioma', only"),
        (["Tumor"], ["Necrosis"], "nothing remains of class 'Tumor' without 'Necrosis'"),
        (["Tumor"], ["TUMOR"], "class 'TUMOR' is both a tumor class and an excluded class; remove one of the two"),
    ],
)
def test_classes_without_remaining_tumor_are_errors(
    read: Any, tumor: list[str], excluded: list[str], message: str
) -> None:
    ring, larger = circle(100, 100, 50), circle(100, 100, 60)
    content = f"<Annotations>{layer([ring], [], 'Tumor')}{layer([larger], [], 'Necrosis')}</Annotations>"
    with pytest.raises(HistosynthError, match=message):
        read(content, *tumor, exclude_classes=excluded)


def test_error_for_unclassified_areas_names_the_option(read: Any) -> None:
    content = imagescope([circle(100, 100, 50)], [], "")
    with pytest.raises(HistosynthError, match=r"select all areas with --tumor-class '\(no class\)'"):
        read(content)
    assert read(content, "(no class)").counts == {"polygons": 1}


@pytest.mark.parametrize("write", [geojson, imagescope])
def test_outline_of_a_million_vertices_is_read_in_seconds(read: Any, write: Any) -> None:
    count = 1_000_000
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    radius = 20_000 + 500 * np.sin(2000 * angles)
    ring = np.round(np.c_[30_000 + radius * np.cos(angles), 30_000 + radius * np.sin(angles)], 3).tolist()
    content = write([ring], [], "Tumor")
    start = time.perf_counter()
    outlines = read(content)
    assert time.perf_counter() - start < 120  # a few seconds on an idle core
    assert outlines.tumor.area == pytest.approx(np.pi * (20_000**2 + 500**2 / 2), rel=1e-4)


def ndpa(ring: Ring, frame: SlideFrame) -> str:
    """Write NDPA by the inverse of the frame: from pixels to nanometers from the center of the glass slide."""
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
def test_all_formats_of_one_outline_give_the_same_tumor(tmp_path_factory: pytest.TempPathFactory, points: Ring) -> None:
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


def test_summary_lists_classes_and_areas(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(imagescope([circle(300, 300, 250)], [circle(300, 300, 100)], "Tumor"))
    net = shapely.Polygon(circle(0, 0, 250)).area - shapely.Polygon(circle(0, 0, 100)).area
    assert summarize_outlines(path) == {
        "format": "ImageScope XML",
        "classes": {"Tumor": {"areas": 1, "area_px2": round(net)}},
    }
