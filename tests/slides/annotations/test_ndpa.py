from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from histosynth.errors import HistosynthError
from histosynth.slides.annotations import SlideFrame, read_outlines, summarize_outlines

FRAME = SlideFrame(
    slide_id="s", width_px=4000, height_px=6000, mpp_x=0.5, mpp_y=0.25, center_x_nm=100_000, center_y_nm=-200_000
)


def view(inner: str, *, kind: str = "freehand", title: str = "Tumor", head: str = "") -> str:
    return (
        f'<ndpviewstate id="1"><title>{title}</title><details/>{head}'
        f'<annotation type="{kind}" displayname="Annotate" color="#000000">{inner}</annotation></ndpviewstate>'
    )


def ring(points: Sequence[tuple[float, float]], *, closed: int = 1, special: str = "") -> str:
    coordinates = "".join(f"<point><x>{x}</x><y>{y}</y></point>" for x, y in points)
    return f"<closed>{closed}</closed><specialtype>{special}</specialtype><pointlist>{coordinates}</pointlist>"


def ndpa(*views: str) -> str:
    return f'<?xml version="1.0" encoding="utf-8" standalone="yes"?><annotations>{"".join(views)}</annotations>'


def square(side_nm: int, at: int = 0) -> list[tuple[float, float]]:
    return [(at, at), (at + side_nm, at), (at + side_nm, at + side_nm), (at, at + side_nm)]


def test_nanometers_are_converted_to_pixels(read: Any) -> None:
    # the center of the image lies at (100, -200) um on the glass, and is pixel (2000, 3000)
    outlines = read(ndpa(view(ring([(100_000, -200_000), (101_000, -200_000), (101_000, -199_000)]))), frame=FRAME)
    assert outlines.format == "Hamamatsu NDPA"
    assert outlines.tumor.bounds == (2000, 3000, 2002, 3004)
    assert outlines.tumor.area == 2 * 4 / 2


def test_areas_are_read_and_other_elements_counted(read: Any) -> None:
    outlines = read(
        ndpa(
            view(ring(square(10_000))),
            view(ring(square(10_000, 50_000), closed=0, special="rectangle")),
            view("<x>200000</x><y>0</y><radius>5000</radius>", kind="circle"),
            view(ring(square(10_000), closed=0)),
            view("<x1>0</x1><y1>0</y1><x2>5</x2><y2>5</y2>", kind="linearmeasure"),
            view("<x>1</x><y>1</y>", kind="pin"),
            view("", kind="unknown"),
            view(ring(square(10_000)), title="Necrosis"),
        ),
        frame=FRAME,
        exclude_classes=["Blood"],
    )
    px2_per_nm2 = 1 / 500 / 250
    assert outlines.tumor.area == pytest.approx((2e8 + np.pi * 5000**2) * px2_per_nm2, rel=1e-4)
    assert outlines.counts == {
        "polygons": 3,
        "other_classes": 1,
        "excluded_absent": 1,
        "ignored_lines": 2,
        "ignored_points": 1,
        "ignored_others": 1,
    }


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (None, "count from the center of the glass slide .NDPA.; read them together with their slide"),
        (
            SlideFrame(slide_id="s", width_px=9, height_px=9, mpp_x=0.5, mpp_y=0.5),
            "slide s states no hamamatsu.XOffsetFromSlideCentre, no hamamatsu.YOffsetFromSlideCentre; use the NDPI",
        ),
        (
            SlideFrame(slide_id="s", width_px=9, height_px=9, center_x_nm=0, center_y_nm=0),
            "slide s states no microns per pixel;",
        ),
    ],
)
def test_missing_properties_are_named(read: Any, frame: SlideFrame | None, message: str) -> None:
    with pytest.raises(HistosynthError, match=message):
        read(ndpa(view(ring(square(10)))), frame=frame)


def test_other_unit_is_rejected(read: Any) -> None:
    with pytest.raises(HistosynthError, match="view state 1: coordinates in 'pixels', not nanometers"):
        read(ndpa(view(ring(square(10)), head="<coordformat>pixels</coordformat>")), frame=FRAME)


@pytest.mark.real
def test_real_export(shared_data: Path) -> None:
    path = shared_data / "annotations" / "hamamatsu_mixed.ndpa"
    left_out = {"ignored_lines": 1, "ignored_others": 1, "ignored_points": 1}
    assert summarize_outlines(path) == {
        "format": "Hamamatsu NDPA",
        "classes": {"Tumor": {"areas": 1, "area_mm2": 0.02}},
        "left_out": left_out,
    }
    outlines = read_outlines(path, tumor_classes=["tumor"], frame=FRAME)
    assert outlines.counts == {"polygons": 1, **left_out}
    assert outlines.tumor.bounds == (1100, 1800, 1300, 2600)
