"""Broken and hostile files: one line that says what and where, soon, and without reading another file."""

from pathlib import Path
from typing import Any

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
    found = "".join('<Coordinate Order="{2}" X="{0}" Y="{1}"/>'.format(*p.split(","), n) for n, p in enumerate(points))
    return (
        '<ASAP_Annotations><Annotations><Annotation Name="a" Type="Polygon" PartOfGroup="Tumor">'
        f"<Coordinates>{found}{extra}</Coordinates></Annotation></Annotations></ASAP_Annotations>"
    )


def ndpa(*points: str) -> str:
    found = "".join("<point><x>{}</x><y>{}</y></point>".format(*point.split(",")) for point in points)
    return (
        '<annotations><ndpviewstate><title>Tumor</title><annotation type="freehand"><closed>1</closed>'
        f"<pointlist>{found}</pointlist></annotation></ndpviewstate></annotations>"
    )


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "ha">'
    + "".join(f'<!ENTITY {"bcdefghijk"[n]} "{("&" + "bcdefghijk"[n - 1] + ";") * 10}">' for n in range(1, 10))
    + "]><ASAP_Annotations><Annotation Name='&k;'/></ASAP_Annotations>"
)


def other_file(path: Path) -> str:
    path.write_text("secret")
    return f'<!DOCTYPE a [<!ENTITY x SYSTEM "{path.as_uri()}">]><Annotations><Annotation Name="&x;"/></Annotations>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "are empty"),
        (b"\xef\xbb\xbf \r\n", "are empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "neither JSON nor XML; give QuPath GeoJSON, or XML of"),
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
        ("<svg/>", "XML of another kind .root element 'svg'.; give QuPath"),
        ("<x:Annotations xmlns:x='a'/>", "XML of another kind .root element 'x:Annotations'"),
        ("<Annotations/>", "hold no outlined area .nothing drawn."),
        ("<ASAP_Annotations/>", "hold no outlined area"),
        ("<annotations/>", "hold no outlined area"),
        (imagescope("0,0", "nan,1", "1,1"), "layer 1, region 1: coordinates that are no finite numbers"),
        (imagescope("0,0", "inf,1", "1,1"), "layer 1, region 1: coordinates that are no finite numbers"),
        (imagescope("0,0", "1e12,1", "1,1"), "layer 1, region 1: coordinates larger than any slide"),
        (imagescope("0,0", "ten,1", "1,1"), "layer 1, region 1: a coordinate is 'ten', no number; mend or remove"),
        (imagescope("0,0", ",1", "1,1"), "layer 1, region 1: a coordinate is '', no number"),
        (imagescope("0,0", "5,5"), "every outline of class 'Tumor' has no area"),
        (imagescope("0,0", "5,5", "9,9"), "every outline of class 'Tumor' has no area"),
        (asap("0,0", "NaN,1", "1,1"), "annotation 1: coordinates that are no finite numbers"),
        (asap(*SQUARE, extra="<Coordinate/>"), "annotation 1: a coordinate is '', no number"),
        (ndpa("0,0", "inf,1", "1,1"), "view state 1: coordinates that are no finite numbers"),
        (ndpa("0,0", "5,5"), "every outline of class 'Tumor' has no area"),
        (ndpa("0,0", "a,5", "5,5"), "view state 1: a coordinate is 'a', no number"),
    ],
)
def test_broken_files_give_one_line(read: Any, content: str | bytes, message: str) -> None:
    with pytest.raises(HistosynthError, match=rf"^outlines .*slide\.xml.*{message}") as caught:
        read(content, frame=FRAME)
    assert "\n" not in str(caught.value)


def test_no_other_file_is_read(read: Any, tmp_path: Path) -> None:
    with pytest.raises(HistosynthError, match="declare a document type") as caught:
        read(other_file(tmp_path / "secret.txt"))
    assert "secret" not in str(caught.value).replace("secret.txt", "")


def test_elements_in_great_depth_are_survived(tmp_path: Path) -> None:
    path = tmp_path / "deep.xml"
    path.write_text("<Annotations>" + "<a>" * 200_000 + "</a>" * 200_000 + "</Annotations>")
    assert summarize_outlines(path)["classes"] == {}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("write", [imagescope, asap])
def test_encodings(read: Any, write: Any, encoding: str) -> None:
    order = {"utf-16-le": "\ufeff", "utf-16-be": "\ufeff"}.get(encoding, "")
    content = (order + '<?xml version="1.0"?>' + write(*SQUARE).replace("Tumor", "Tumör")).encode(encoding)
    assert read(content, "tumör").tumor.area == 100


def test_a_code_page_that_the_file_names(read: Any) -> None:
    content = '<?xml version="1.0" encoding="windows-1252"?>' + imagescope(*SQUARE).replace("Tumor", "Tumör")
    assert read(content.encode("cp1252"), "Tumör").tumor.area == 100


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(HistosynthError, match="cannot be read: No such file"):
        summarize_outlines(tmp_path / "gone.xml")
    with pytest.raises(HistosynthError, match="cannot be read: Is a directory"):
        summarize_outlines(tmp_path)
