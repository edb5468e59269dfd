from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from histosynth.slides.annotations import read_outlines, summarize_outlines

SQUARE = [(0, 0), (10, 0), (10, 10), (0, 10)]


def annotation(
    points: Sequence[tuple[Any, Any]], *, group: str = "Tumor", kind: str = "Polygon", name: str = ""
) -> str:
    coordinates = "".join(f'<Coordinate Order="{n}" X="{x}" Y="{y}" />' for n, (x, y) in enumerate(points))
    return (
        f'<Annotation Name="{name}" Type="{kind}" PartOfGroup="{group}" Color="#F4FA58">'
        f"<Coordinates>{coordinates}</Coordinates></Annotation>"
    )


def asap(*annotations: str, groups: str = "") -> str:
    return (
        '<?xml version="1.0"?>\n<ASAP_Annotations><Annotations>'
        f"{''.join(annotations)}</Annotations><AnnotationGroups>{groups}</AnnotationGroups></ASAP_Annotations>"
    )


def group(name: str, parent: str = "None") -> str:
    return f'<Group Name="{name}" PartOfGroup="{parent}" Color="#64FE2E"><Attributes /></Group>'


def test_areas_are_read_and_other_elements_counted(read: Any) -> None:
    shifted = [(x + 100, y) for x, y in SQUARE]
    outlines = read(
        asap(
            annotation(SQUARE),
            annotation(shifted, kind="Rectangle"),
            annotation([(x + 200, y) for x, y in SQUARE], kind="Spline"),
            annotation([(300, 0), (310, 20)], kind="Rectangle"),
            annotation(shifted, group="Stroma"),
            annotation([(1, 1)], kind="Dot"),
            annotation(SQUARE, kind="PointSet"),
            annotation(SQUARE[:2], kind="Measurement"),
            annotation(SQUARE, kind="Cloud"),
        ),
        "TUMOR ",
    )
    assert outlines.format == "ASAP XML"
    assert outlines.tumor.area == 3 * 100 + 200
    assert outlines.counts == {
        "polygons": 4,
        "other_classes": 1,
        "ignored_points": 1 + 4,
        "ignored_lines": 1,
        "ignored_others": 1,
    }


def test_nested_group_belongs_to_all_enclosing_classes(read: Any) -> None:
    content = asap(
        annotation(SQUARE, group="Grade 4"),
        annotation([(x + 5, y) for x, y in SQUARE], group="Necrosis"),
        groups=group("Tumor") + group("Glioma", "Tumor") + group("Grade 4", "Glioma") + group("Necrosis", "Tumor"),
    )
    assert read(content, "Grade 4").tumor.area == 100
    assert read(content, "tumor").tumor.area == 150
    assert read(content, "tumor", exclude_classes=["necrosis"]).tumor.area == 50


def test_groups_that_contain_each_other_are_read(read: Any) -> None:
    content = asap(annotation(SQUARE, group="a"), groups=group("a", "b") + group("b", "a"))
    assert read(content, "b").tumor.area == 100


def test_without_a_group_the_name_is_the_class_unless_generated(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(
        asap(annotation(SQUARE, group="None", name="Annotation 12"), annotation(SQUARE, group="None", name="Tumor"))
    )
    assert set(summarize_outlines(path)["classes"]) == {"(no class)", "Tumor"}


def test_points_are_sorted_and_decimal_commas_accepted(read: Any) -> None:
    points = "".join(
        f'<Coordinate Order="{n}" X="{x},5" Y="{y}.25"/>'
        for n, (x, y) in sorted(enumerate(SQUARE), key=lambda p: -p[0])
    )
    outlines = read(
        asap(f'<Annotation Type="Polygon" PartOfGroup="Tumor"><Coordinates>{points}</Coordinates></Annotation>')
    )
    assert outlines.tumor.bounds == (0.5, 0.25, 10.5, 10.25)
    assert outlines.tumor.area == 100


def test_camelyon_groups_with_an_exclusion(read: Any) -> None:
    hole = [(2, 2), (4, 2), (4, 4), (2, 4)]
    far = [(x + 50, y) for x, y in SQUARE]
    outlines = read(
        asap(annotation(SQUARE, group="_0"), annotation(far, group="_1"), annotation(hole, group="_2")),
        "_0",
        "_1",
        exclude_classes=["_2"],
    )
    assert outlines.tumor.area == 200 - 4
    assert outlines.counts == {"polygons": 2, "excluded": 1}


@pytest.mark.real
def test_real_export(shared_data: Path) -> None:
    outlines = read_outlines(shared_data / "annotations" / "asap-polygon.xml", tumor_classes=["(no class)"])
    x, y = zip(
        (22851.3281, 16551.1797),
        (22693.1875, 16669.7832),
        (22911.5078, 16710.6367),
        (22934.3516, 16636.3984),
        (23067.4531, 16621.4629),
        (22954.1191, 16565.2363),
        strict=True,
    )
    shoelace = sum(x[i - 1] * y[i] - x[i] * y[i - 1] for i in range(6)) / 2
    assert outlines.tumor.area == pytest.approx(abs(shoelace))
    assert outlines.counts == {"polygons": 1}
