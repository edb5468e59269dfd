"""Agreement of two outlines: closed forms, independent programs, and pooling."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa

from histosynth.annotate.agreement import Agreement, Comparison, agreement, compare_outlines

NO_SQUARES = np.zeros((2, 0), bool)
FAR = np.array([100_000, 0])


def square(x: float, y: float, side: float) -> shapely.MultiPolygon:
    return shapely.MultiPolygon([shapely.box(x, y, x + side, y + side)])


def compared(a: shapely.MultiPolygon, b: shapely.MultiPolygon, *, mpp: float = 1.0) -> Agreement:
    return agreement([compare_outlines(a, b, mpp=mpp, decisions=NO_SQUARES)])


@pytest.mark.parametrize(("side", "shift", "mpp"), [(4000, 200, 1.0), (8000, 1000, 0.25), (10_000, 4000, 0.5)])
def test_shifted_squares(side: float, shift: float, mpp: float) -> None:
    """All distances are at most the shift, which two of the eight sides have throughout; their mean is half of it."""
    result = compared(square(0, 0, side), square(shift, 0, side), mpp=mpp)
    assert result.dice == pytest.approx((side - shift) / side)
    assert result.iou == pytest.approx((side - shift) / (side + shift))
    assert result.boundary_mean_um == pytest.approx(shift / 2 * mpp, rel=0.01)
    assert result.boundary_95_um == pytest.approx(shift * mpp)
    assert result.area_a_mm2 == result.area_b_mm2 == pytest.approx((side * mpp / 1000) ** 2)


def test_concentric_circles_are_apart_by_the_difference_of_their_radii() -> None:
    inner, outer = (shapely.MultiPolygon([shapely.Point(0, 0).buffer(r, quad_segs=500)]) for r in (3000, 3400))
    result = compared(inner, outer)
    assert result.boundary_mean_um == pytest.approx(400, rel=1e-3)
    assert result.boundary_95_um == pytest.approx(400, rel=1e-3)
    assert result.iou == pytest.approx((3000 / 3400) ** 2, rel=1e-6)


def test_equal_outlines_agree_perfectly_and_distant_ones_not_at_all() -> None:
    same, apart = compared(square(0, 0, 100), square(0, 0, 100)), compared(square(0, 0, 100), square(500, 0, 100))
    assert (same.dice, same.iou, same.boundary_mean_um, same.boundary_95_um) == (1, 1, 0, 0)
    assert (apart.dice, apart.iou) == (0, 0)
    assert 400 <= apart.boundary_mean_um <= 500


def test_a_hole_counts_as_boundary() -> None:
    whole = shapely.box(0, 0, 3000, 3000)
    holed = shapely.MultiPolygon([whole.difference(shapely.box(1400, 1400, 1600, 1600))])
    result = compared(shapely.MultiPolygon([whole]), holed)
    assert result.dice == pytest.approx(2 * (9e6 - 4e4) / (18e6 - 4e4))
    assert 0 < result.boundary_mean_um < 100  # only the points of the hole, a sixteenth of one boundary, are far


shapes = st.lists(
    st.tuples(st.integers(0, 900), st.integers(0, 900), st.integers(50, 400)), min_size=1, max_size=4
).map(
    lambda boxes: shapely.MultiPolygon(
        shapely.get_parts(shapely.union_all([shapely.box(x, y, x + s, y + s) for x, y, s in boxes])).tolist()
    )
)


@settings(deadline=None)
@given(shapes, shapes)
def test_distances_are_those_of_shapely_and_the_order_does_not_matter(
    a: shapely.MultiPolygon, b: shapely.MultiPolygon
) -> None:
    one, other = compared(a, b), compared(b, a)
    assert (one.dice, one.iou, one.boundary_95_um) == pytest.approx((other.dice, other.iou, other.boundary_95_um))
    assert one.dice == pytest.approx(2 * one.iou / (1 + one.iou))
    part = compare_outlines(a, b, mpp=1.0, decisions=NO_SQUARES)
    rings = [ring for each in a.geoms for ring in (each.exterior, *each.interiors)]
    points = [ring.interpolate(5.0 * n) for ring in rings for n in range(int(np.ceil(ring.length / 5)))]
    assert part.distances_um[0] == pytest.approx(shapely.distance(points, b.boundary), abs=1e-9)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60))
def test_kappa_is_that_of_statsmodels(decisions: list[tuple[bool, bool]]) -> None:
    table = np.array(decisions).T
    result = agreement([compare_outlines(square(0, 0, 9), square(0, 0, 9), mpp=1.0, decisions=table)])
    counts = np.zeros((2, 2))
    for first, second in decisions:
        counts[int(first), int(second)] += 1
    assert result.squares == len(decisions)
    if counts.max() == len(decisions) and np.trace(counts) == len(decisions):
        assert result.kappa is None
    else:
        with np.errstate(all="ignore"):
            assert result.kappa == pytest.approx(cohens_kappa(counts, return_results=False))


@settings(deadline=None, max_examples=30)
@given(shapes, shapes, shapes, shapes)
def test_slides_are_pooled_as_if_they_lay_side_by_side(
    a: shapely.MultiPolygon, b: shapely.MultiPolygon, c: shapely.MultiPolygon, d: shapely.MultiPolygon
) -> None:
    far = [shapely.transform(each, lambda xy: xy + FAR) for each in (c, d)]
    together = compared(*(shapely.MultiPolygon([*x.geoms, *y.geoms]) for x, y in zip((a, b), far, strict=True)))
    pooled = agreement([compare_outlines(x, y, mpp=1.0, decisions=NO_SQUARES) for x, y in ((a, b), (c, d))])
    for name in ("dice", "iou", "boundary_mean_um", "boundary_95_um", "area_a_mm2", "area_b_mm2"):
        assert getattr(pooled, name) == pytest.approx(getattr(together, name), abs=1e-6), name


def test_without_squares_there_is_no_kappa() -> None:
    part = Comparison(
        areas_um2=(1.0, 1.0, 0.0), squares=np.zeros((2, 2), np.int64), distances_um=(np.zeros(1), np.ones(1))
    )
    assert agreement([part]).kappa is None
