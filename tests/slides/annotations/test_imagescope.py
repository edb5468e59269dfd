from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import shapely

from histosynth.slides.annotations import read_outlines, summarize_outlines


def square(side: float, at: float = 0) -> list[tuple[float, float]]:
    return [(at, at), (at + side, at), (at + side, at + side), (at, at + side)]


def region(points: Sequence[tuple[float, float]], kind: str = "0", *, negative: int = 0, text: str = "") -> str:
    tag = "Vertex" if kind.isdigit() else "V"
    vertices = "".join(f'<{tag} X="{x}" Y="{y}"/>' for x, y in points)
    return (
        f'<Region Type="{kind}" Text="{text}" HasEndcaps="0" NegativeROA="{negative}"><Attributes/>'
        f"<Vertices>{vertices}</Vertices></Region>"
    )


def layer(*regions: str, name: str = "Tumor", attribute: str = "") -> str:
    head = "<RegionAttributeHeaders><AttributeHeader Id='9999' Name='Region'/></RegionAttributeHeaders>"
    attributes = f"<Attributes>{attribute}</Attributes>" if attribute else ""
    inner = f"{attributes}<Regions>{head}{''.join(regions)}</Regions>"
    return f'<Annotation Id="1" Name="{name}" Type="4">{inner}</Annotation>'


def file(*layers: str) -> str:
    return f'<Annotations MicronsPerPixel="0.252000">{"".join(layers)}</Annotations>'


def test_all_imagescope_types_are_read_or_counted(read: Any) -> None:
    outlines = read(
        file(
            layer(
                region(square(10)),
                region([(100, 0), (120, 10)], "1"),
                region(square(10, 200), "1"),
                region([(300, 300), (340, 320)], "2"),
                region([(0, 0), (5, 5)], "3"),
                region([(0, 0), (5, 5)], "4"),
                region([(0, 0)], "9"),
            ),
            layer(region(square(10, 500)), name="Stroma"),
        )
    )
    assert outlines.format == "ImageScope XML"
    assert outlines.tumor.area == pytest.approx(100 + 200 + 100 + np.pi * 20 * 10, rel=1e-4)
    assert outlines.counts == {"polygons": 4, "other_classes": 1, "ignored_lines": 2, "ignored_others": 1}


def test_ellipse_is_read_from_four_points(read: Any) -> None:
    axes = [(0, 10), (20, 0), (40, 10), (20, 20)]
    outlines = read(file(layer(region(axes, "2"))))
    assert outlines.tumor.area == pytest.approx(np.pi * 20 * 10, rel=1e-4)
    assert outlines.tumor.bounds == pytest.approx((0, 0, 40, 20))


def test_all_halo_types_are_read_or_counted(read: Any) -> None:
    outlines = read(
        file(
            layer(
                region(square(10), "Polygon"),
                region([(100, 0), (120, 10)], "Rectangle"),
                region([(300, 300), (340, 320)], "Ellipse"),
                region([(0, 0), (5, 5)], "Ruler"),
                region([(0, 0)], "Pin"),
            )
        ),
        name="slide.annotations",
    )
    assert outlines.format == "HALO XML"
    assert outlines.tumor.area == pytest.approx(100 + 200 + np.pi * 20 * 10, rel=1e-4)
    assert outlines.counts == {"polygons": 3, "ignored_lines": 1, "ignored_points": 1}


def test_negative_regions_are_holes_in_their_layer_only(read: Any) -> None:
    content = file(
        layer(
            region(square(10)),
            region(square(20, 100)),
            region(square(4, 3), negative=1),
            region(square(4, 105), negative=1),
        ),
        layer(region(square(10)), name="Stroma"),
    )
    outlines = read(content)
    assert outlines.tumor.area == 100 - 16 + 400 - 16
    assert outlines.counts == {"polygons": 2, "holes": 2, "other_classes": 1}
    outlines = read(content, "Stroma")
    assert outlines.tumor.area == 100
    assert outlines.counts == {"polygons": 1, "holes_unused": 2, "other_classes": 2}


def test_island_in_a_hole_is_kept_and_may_have_a_hole(read: Any) -> None:
    nested = [
        region(square(100)),
        region(square(60, 20), negative=1),
        region(square(40, 30)),
        region(square(10, 45), negative=1),
    ]
    for order in (nested, nested[::-1]):
        outlines = read(file(layer(*order)))
        assert outlines.tumor.area == 100**2 - 60**2 + 40**2 - 10**2
        assert outlines.counts == {"polygons": 2, "holes": 2}


def test_area_covered_by_a_hole_is_removed(read: Any) -> None:
    outlines = read(file(layer(region(square(10, 5)), region(square(30), negative=1), region(square(10, 50)))))
    assert outlines.tumor.bounds == (50, 50, 60, 60)
    assert outlines.counts == {"polygons": 1, "holes": 1, "without_area": 1}


def test_touching_hole_removes_nothing(read: Any) -> None:
    outlines = read(file(layer(region(square(10)), region([(10, 0), (20, 0), (20, 10), (10, 10)], negative=1))))
    assert (outlines.tumor.area, outlines.counts) == (100, {"polygons": 1, "holes_unused": 1})


def test_class_is_read_from_layer_attribute_or_text(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(
        file(
            layer(region(square(10), text="unread"), name="Layer", attribute='<Attribute Name="CaP" Value=""/>'),
            layer(region(square(10)), name="", attribute='<Attribute Name="CaP" Id="0" Value=""/>'),
            layer(region(square(10)), name="", attribute='<Attribute Name="Description" Value="Valued"/>'),
            layer(region(square(10), text="Text"), name="", attribute='<Attribute Name="Description" Value=""/>'),
            layer(region(square(10)), name=""),
        )
    )
    assert set(summarize_outlines(path)["classes"]) == {"Layer", "CaP", "Valued", "Text", "(no class)"}


def test_regions_of_few_points_are_counted(read: Any) -> None:
    outlines = read(file(layer(region(square(10)), region([(1, 1), (2, 2)]), region([(5, 5)]), region([]))))
    assert (outlines.tumor.area, outlines.counts) == (100, {"polygons": 1, "without_area": 3})


@pytest.mark.real
@pytest.mark.parametrize("name", ["CaP", "(no class)"])
def test_areas_agree_with_those_that_imagescope_states(shared_data: Path, name: str) -> None:
    path = shared_data / "annotations" / "imagescope_TCGA-EJ-5518-01Z-00-DX1.xml"
    stated = {"CaP": 0.0, "(no class)": 0.0}
    for annotation in ElementTree.parse(path).getroot().iter("Annotation"):
        is_cap = annotation.find("Attributes/Attribute[@Name='CaP']") is not None
        stated["CaP" if is_cap else "(no class)"] += sum(float(r.get("Area", "")) for r in annotation.iter("Region"))
    outlines = read_outlines(path, tumor_classes=[name])
    assert outlines.counts["polygons"] == 2
    assert summarize_outlines(path)["classes"][name]["area_px2"] == pytest.approx(stated[name], rel=0.002)
    assert outlines.tumor.area <= stated[name] * 1.002
    assert shapely.is_valid(outlines.tumor)
