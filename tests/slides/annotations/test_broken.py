"""Invalid and malicious files: a one-line error with cause and position, without delay, reading no other file."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from histosynth.errors import HistosynthError
from histosynth.slides.annotations import SlideFrame, summarize_outlines

SQUARE = ("0,0", "10,0", "10,10", "0,10")
FRAME = SlideFrame(slide_id="s", width_px=100, height_px=100, mpp_x=1, mpp_y=1, center_x_nm=0, center_y_nm=0)


def imagescope(*points: str) -> str:
    vertices = "".join('<Vertex X="{}" Y="{}"/>'.format(*point.split(",")) for point in points)
    return (
        '<Annotations><Annotation Name="Tumor"><Regions><Region Type="0" NegativeROA="0">'
        f"<Vertices>{vertices}</Vertices></Region></Regions></Annotation></Annotations>"
    )


def asap(*points: str, extra: str = "") -> str:
    coordinates = "".join(
        '<Coordinate Order="{2}" X="{0}" Y="{1}"/>'.format(*p.split(","), n) for n, p in enumerate(points)
    )
    return (
        '<ASAP_Annotations><Annotations><Annotation Name="a" Type="Polygon" PartOfGroup="Tumor">'
        f"<Coordinates>{coordinates}{extra}</Coordinates></Annotation></Annotations></ASAP_Annotations>"
    )


def ndpa(*points: str) -> str:
    coordinates = "".join("<point><x>{}</x><y>{}</y></point>".format(*point.split(",")) for point in points)
    return (
        '<annotations><ndpviewstate><title>Tumor</title><annotation type="freehand"><closed>1</closed>'
        f"<pointlist>{coordinates}</pointlist></annotation></ndpviewstate></annotations>"
    )


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "ha">'
    + "".join(f'<!ENTITY {"bcdefghijk"[n]} "{("&" + "bcdefghijk"[n - 1] + ";") * 10}">' for n in range(1, 10))
    + "]><ASAP_Annotations><Annotation Name='&k;'/></ASAP_Annotations>"
)


def external_entity(path: Path) -> str:
    path.write_text("secret")
    return f'<!DOCTYPE a [<!ENTITY x SYSTEM "{path.as_uri()}">]><Annotations><Annotation Name="&x;"/></Annotations>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "are empty"),
        (b"\xef\xbb\xbf \r\n", "are empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "neither JSON nor XML; supported are QuPath GeoJSON and XML of"),
        (b"slide,label\na,b\n", "neither JSON nor XML"),
        (b"{" + bytes(range(256)), "not valid JSON"),
        (b"<" + bytes(range(256)), "not valid XML"),
        ("[" * 200_000, "not valid JSON"),
        (imagescope(*SQUARE)[:-30], "not valid XML .unclosed token"),
        (imagescope(*SQUARE)[:-14], "not valid XML .no element found"),
        (asap(*SQUARE)[:150], "not valid XML .unclosed token"),
        ("<Annotations><Annotation></Annotations>", "not valid XML .mismatched tag"),
        ("<Annotations/><Annotations/>", "not valid XML .junk after document element"),
        ('<?xml version="1.0" encoding="klingon"?><Annotations/>', "not valid XML"),
        ("<Annotations>&nbsp;</Annotations>", "not valid XML .undefined entity"),
        (BOMB, "declare a document type"),
        ('<!DOCTYPE html SYSTEM "http://localhost/a.dtd"><html/>', "declare a document type"),
        ("<svg/>", "XML of an unknown kind .root element 'svg'.; supported are QuPath"),
        ("<x:Annotations xmlns:x='a'/>", "XML of an unknown kind .root element 'x:Annotations'"),
        ("<Annotations/>", "contain no area .no annotation."),
        ("<ASAP_Annotations/>", "contain no area"),
        ("<annotations/>", "contain no area"),
        (imagescope("0,0", "nan,1", "1,1"), "layer 1, region 1: coordinates that are not finite"),
        (imagescope("0,0", "inf,1", "1,1"), "layer 1, region 1: coordinates that are not finite"),
        (imagescope("0,0", "1e12,1", "1,1"), "layer 1, region 1: coordinates larger than any slide"),
        (imagescope("0,0", "ten,1", "1,1"), "layer 1, region 1: the coordinate 'ten' is not a number; fix or remove"),
        (imagescope("0,0", ",1", "1,1"), "layer 1, region 1: the coordinate '' is not a number"),
        (imagescope("0,0", "5,5"), "every outline of class 'Tumor' has no area"),
        (imagescope("0,0", "5,5", "9,9"), "every outline of class 'Tumor' has no area"),
        (asap("0,0", "NaN,1", "1,1"), "annotation 1: coordinates that are not finite"),
        (asap(*SQUARE, extra="<Coordinate/>"), "annotation 1: the coordinate '' is not a number"),
        (ndpa("0,0", "inf,1", "1,1"), "view state 1: coordinates that are not finite"),
        (ndpa("0,0", "5,5"), "every outline of class 'Tumor' has no area"),
        (ndpa("0,0", "a,5", "5,5"), "view state 1: the coordinate 'a' is not a number"),
    ],
)
def test_invalid_files_give_a_one_line_error(read: Any, content: str | bytes, message: str) -> None:
    with pytest.raises(HistosynthError, match=rf"^outlines .*slide\.xml.*{message}") as caught:
        read(content, frame=FRAME)
    assert "\n" not in str(caught.value)


def geojson(*rings: Any) -> str:
    """Write a polygon per ring; the coordinates may be texts."""
    areas = ", ".join(
        f'{{"type": "Polygon", "coordinates": [[{", ".join(f"[{x}, {y}]" for x, y in [*ring, ring[0]])}]]}}'
        for ring in rings
    )
    return (
        f'{{"type": "Feature", "properties": {{"name": "Tumor"}}, "geometry": {{"type": "GeometryCollection", '
        f'"geometries": [{areas}]}}}}'
    )


@pytest.mark.parametrize("digits", [400, 5000])
@pytest.mark.parametrize("fraction", ["", ".0"])
def test_coordinates_of_many_digits_are_an_error(read: Any, digits: int, fraction: str) -> None:
    with pytest.raises(HistosynthError, match=r"slide\.xml"):
        read(geojson([(0, 0), ("9" * digits + fraction, 0), (5, 5)]))


@pytest.mark.parametrize("vertices", [3_000, 20_000])
def test_ring_that_crosses_itself_everywhere_is_an_error_within_seconds(read: Any, vertices: int) -> None:
    ring = np.random.default_rng(0).uniform(0, 10_000, (vertices, 2)).tolist()
    started = time.process_time()
    with pytest.raises(HistosynthError, match="cross themselves more than 20000 times; redraw or remove them"):
        read(geojson(ring))
    assert time.process_time() - started < 10


def test_long_ring_with_few_crossings_is_repaired(read: Any) -> None:
    angle = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    ring = np.stack([1000 + 900 * np.sin(angle), 1000 + 900 * np.sin(2 * angle)], axis=1)  # a figure of eight
    outlines = read(geojson(ring.tolist()))
    assert outlines.counts == {"polygons": 1, "repaired": 1}
    assert outlines.tumor.area == pytest.approx(900**2 * 8 / 3, rel=1e-3)


def test_many_small_areas_are_read_within_seconds(read: Any) -> None:
    corners = [(x, y) for x in range(0, 2000, 10) for y in range(0, 1000, 10)]
    started = time.process_time()
    outlines = read(geojson(*([(x, y), (x + 5, y), (x + 5, y + 5)] for x, y in corners)))
    assert time.process_time() - started < 10  # the union of all of them at once took a minute
    assert outlines.counts == {"polygons": 20_000}
    assert outlines.tumor.area == pytest.approx(20_000 * 12.5)


def test_outlines_that_are_no_regular_file_are_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.geojson")
    with pytest.raises(HistosynthError, match=r"a\.geojson cannot be read: not a regular file"):
        summarize_outlines(tmp_path / "a.geojson")


def test_external_entities_are_not_read(read: Any, tmp_path: Path) -> None:
    with pytest.raises(HistosynthError, match="declare a document type") as caught:
        read(external_entity(tmp_path / "secret.txt"))
    assert "secret" not in str(caught.value).replace("secret.txt", "")


def test_deeply_nested_elements_are_read(tmp_path: Path) -> None:
    path = tmp_path / "deep.xml"
    path.write_text("<Annotations>" + "<a>" * 200_000 + "</a>" * 200_000 + "</Annotations>")
    assert summarize_outlines(path)["classes"] == {}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("write", [imagescope, asap])
def test_unicode_encodings_are_read(read: Any, write: Any, encoding: str) -> None:
    order = {"utf-16-le": "\ufeff", "utf-16-be": "\ufeff"}.get(encoding, "")
    content = (order + '<?xml version="1.0"?>' + write(*SQUARE).replace("Tumor", "Tumör")).encode(encoding)
    assert read(content, "tumör").tumor.area == 100


def test_declared_code_page_is_read(read: Any) -> None:
    content = '<?xml version="1.0" encoding="windows-1252"?>' + imagescope(*SQUARE).replace("Tumor", "Tumör")
    assert read(content.encode("cp1252"), "Tumör").tumor.area == 100


def test_missing_file_and_directory_are_errors(tmp_path: Path) -> None:
    with pytest.raises(HistosynthError, match="cannot be read: No such file"):
        summarize_outlines(tmp_path / "absent.xml")
    with pytest.raises(HistosynthError, match="cannot be read: Is a directory"):
        summarize_outlines(tmp_path)
