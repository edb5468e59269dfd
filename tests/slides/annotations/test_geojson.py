import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from histosynth.errors import HistosynthError
from histosynth.slides.annotations import Outlines, outlined_classes, read_outlines

SQUARE = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
HOLE = [[2, 2], [4, 2], [4, 4], [2, 4], [2, 2]]
BOW_TIE = [[20, 0], [30, 10], [30, 0], [20, 10], [20, 0]]  # two triangles of 25 each


def feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties or {"classification": {"name": "Tumor"}}}


def polygon(*rings: list[Any]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def read(path: Path, content: Any, tumor_class: str = "Tumor") -> Outlines:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_outlines(path, tumor_classes=[tumor_class])


def nested(depth: int) -> str:
    return '{"type": "GeometryCollection", "geometries": [' * depth + "]}" * depth


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "slide.geojson"


@pytest.mark.parametrize(
    "wrap",
    [lambda f: {"type": "FeatureCollection", "features": [f]}, lambda f: [f], lambda f: f],
    ids=["collection", "list", "single"],
)
def test_collection_list_and_single_feature_are_read(file: Path, wrap: Any) -> None:
    outlines = read(file, wrap(feature(polygon(SQUARE, HOLE))))
    assert outlines.tumor.area == 100 - 4
    assert outlines.counts == {"polygons": 1}


@pytest.mark.parametrize(
    "geometry",
    [
        polygon(SQUARE, HOLE),
        {"type": "MultiPolygon", "coordinates": [[SQUARE, HOLE]]},
        {"type": "GeometryCollection", "geometries": [polygon(SQUARE, HOLE)]},
    ],
    ids=lambda geometry: geometry["type"],
)
def test_bare_geometry_is_an_area_without_a_class(file: Path, geometry: Any) -> None:
    outlines = read(file, geometry, "(no class)")
    assert outlines.tumor.area == 100 - 4
    with pytest.raises(HistosynthError, match=r"only '\(no class\)' \(1\)"):
        read(file, geometry)


@pytest.mark.parametrize(
    "properties",
    [
        {"classification": {"name": "tumor ", "color": [200, 0, 0]}, "name": "Area 3"},
        {"classification": {"names": ["TUMOR"]}},
        {"classification": "Tumor"},
        {"name": "Tumor"},
    ],
)
def test_class_is_read_in_every_form_and_case(file: Path, properties: dict[str, Any]) -> None:
    assert read(file, [feature(polygon(SQUARE), **properties)]).tumor.area == 100


def test_every_geometry_is_read_or_counted(file: Path) -> None:
    shifted = [[x + 50, y] for x, y in SQUARE]
    content = [
        feature({"type": "MultiPolygon", "coordinates": [[SQUARE, HOLE], [shifted]]}),
        feature(
            {
                "type": "GeometryCollection",
                "geometries": [
                    polygon([[x, y + 50] for x, y in SQUARE]),
                    {"type": "Point", "coordinates": [1, 1]},
                    {"type": "GeometryCollection", "geometries": [{"type": "LineString", "coordinates": SQUARE}]},
                ],
            }
        ),
        feature({"type": "MultiPoint", "coordinates": [[1, 1], [2, 2]]}),
        feature({"type": "MultiLineString", "coordinates": [[[0, 0], [1, 1]]]}),
        feature(polygon(SQUARE), classification={"name": "Necrosis"}),
        feature(polygon(SQUARE), objectType="cell", classification={"name": "Tumor"}),
        {**feature(polygon(SQUARE)), "id": "PathDetectionObject"},
    ]
    outlines = read(file, content)
    assert outlines.tumor.area == 96 + 100 + 100
    assert outlines.counts == {
        "polygons": 3,
        "ignored_points": 3,
        "ignored_lines": 2,
        "ignored_cells": 2,
        "other_classes": 1,
    }


def test_self_crossing_rings_are_repaired_and_counted(file: Path) -> None:
    outlines = read(file, [feature(polygon(BOW_TIE)), feature(polygon(SQUARE))])
    assert outlines.tumor.is_valid
    assert outlines.tumor.area == 100 + 50
    assert outlines.counts == {"polygons": 2, "repaired": 1}


def test_overlapping_outlines_are_merged(file: Path) -> None:
    outlines = read(file, [feature(polygon(SQUARE)), feature(polygon([[x + 5, y] for x, y in SQUARE]))])
    assert outlines.tumor.area == 150
    assert len(outlines.tumor.geoms) == 1


def test_outlines_without_area_are_counted_or_rejected(file: Path) -> None:
    line = [[0, 0], [5, 5], [9, 9], [0, 0]]
    assert read(file, [feature(polygon(line)), feature(polygon(SQUARE))]).counts == {"polygons": 1, "without_area": 1}
    with pytest.raises(HistosynthError, match="every outline of class 'Tumor' has no area"):
        read(file, [feature(polygon(line))])


def test_z_coordinates_and_byte_order_marks_are_accepted(file: Path) -> None:
    text = json.dumps([feature(polygon([[x, y, 0.0] for x, y in SQUARE]))])
    for encoding in ("utf-8-sig", "utf-16"):
        file.write_text(text, encoding=encoding)
        assert read_outlines(file, tumor_classes=["Tumor"]).tumor.area == 100


@given(
    st.lists(
        st.tuples(*[st.integers(0, 60) for _ in range(2)], *[st.integers(1, 30) for _ in range(2)]),
        min_size=1,
        max_size=6,
    )
)
def test_area_of_overlapping_rectangles_agrees_with_a_raster(
    tmp_path_factory: pytest.TempPathFactory, rectangles: list[tuple[int, int, int, int]]
) -> None:
    raster = np.zeros((100, 100), bool)
    features = []
    for x, y, width, height in rectangles:
        raster[y : y + height, x : x + width] = True
        features.append(feature(shapely.geometry.mapping(shapely.box(x, y, x + width, y + height))))
    outlines = read(tmp_path_factory.mktemp("u") / "a.json", features)
    assert outlines.tumor.area == raster.sum()
    assert outlines.counts["polygons"] == len(rectangles)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "are empty"),
        ("[" * 100_000, "not valid JSON"),
        ('{"type": "FeatureCollection"}', "not GeoJSON"),
        ('"Tumor"', "neither JSON nor XML"),
        ('{"type": "FeatureColl', "not valid JSON"),
        ('[1, "a"]', "not GeoJSON"),
        ("[]", "contain no area .no annotation."),
        ([feature({"type": "Point", "coordinates": [1, 1]})], "contain no area .1 ignored_points."),
        (
            [feature(polygon(SQUARE), classification={"name": "Stroma"})],
            r"no class 'Tumor', only 'Stroma' \(1\); choose one with --tumor-class NAME",
        ),
        (
            [feature(polygon(SQUARE), isLocked=False)],
            r"no class 'Tumor', only '\(no class\)' \(1\); give .*, "
            r"or select all areas with --tumor-class '\(no class\)'",
        ),
        ([feature(polygon([[0, 0], [1e300, 1], [1, 1], [0, 0]]))], "feature 1: coordinates larger than any slide"),
        ([feature(polygon(SQUARE)), feature(polygon([[0, 0], [float("nan"), 1], [1, 1], [0, 0]]))], "feature 2: coord"),
        ([feature(polygon([[0, 0], [float("inf"), 1], [1, 1], [0, 0]]))], "feature 1: coordinates"),
        ([feature(polygon([[0, 0], [1, 1]]))], "feature 1: invalid geometry"),
        ([feature(polygon([["a", "b"], [1, 1], [2, 1], ["a", "b"]]))], "feature 1: invalid geometry"),
        ([feature(polygon([0, 1, 2]))], "feature 1: invalid geometry"),
        ([feature({"type": "Circle", "coordinates": [0, 0]})], "feature 1: invalid geometry"),
        ([feature({"type": "Polygon"})], "feature 1: invalid geometry"),
        ([feature({"coordinates": SQUARE})], "feature 1: invalid geometry"),
        ([feature(None)], "feature 1: invalid geometry"),
        ([feature("POLYGON EMPTY")], "feature 1: invalid geometry"),
        (
            f'{{"type": "Feature", "geometry": {nested(450)}}}',
            "(feature 1: invalid geometry|contain no area|not valid)",
        ),
        ([{"type": "Feature", "geometry": polygon(SQUARE), "properties": "Tumor"}], r"'\(no class\)'"),
        ([{**feature(None), "id": [1], "geometry": []}], "feature 1: invalid geometry"),
        ([feature(polygon(SQUARE), classification=[1], objectType={})], r"only '\[1\]'"),
        ([feature(polygon())], "every outline of class 'Tumor' has no area"),
    ],
)
def test_invalid_files_give_a_one_line_error(file: Path, content: Any, message: str) -> None:
    with pytest.raises(HistosynthError, match=rf"outlines .*slide\.geojson.*{message}") as caught:
        read(file, content)
    assert "\n" not in str(caught.value)


def test_outlined_classes_are_summarized(file: Path) -> None:
    stroma = feature(polygon(SQUARE), classification="Stroma")
    bare = {"type": "Feature", "geometry": polygon(SQUARE), "properties": "Tumor"}
    file.write_text(json.dumps([feature(polygon(SQUARE, HOLE)), stroma, stroma, bare]))
    assert outlined_classes(file) == {
        "(no class)": {"areas": 1, "area_px2": 100},
        "Stroma": {"areas": 2, "area_px2": 200},
        "Tumor": {"areas": 1, "area_px2": 96},
    }


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "tumor_class", "area", "counts"),
    [
        ("qupath-rectangle.json", "rectangle", 210 * 176, {"polygons": 1}),
        ("qupath-polygon.json", "polygon", 94_491.5, {"polygons": 1}),
        ("qupath_example.geojson", "tumor", 2_265_677_914.23, {"polygons": 3, "other_classes": 5}),
    ],
)
def test_real_qupath_files(shared_data: Path, name: str, tumor_class: str, area: float, counts: dict[str, int]) -> None:
    outlines = read_outlines(shared_data / "annotations" / name, tumor_classes=[tumor_class])
    assert outlines.tumor.area == pytest.approx(area)
    assert outlines.counts == counts
