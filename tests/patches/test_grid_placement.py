from typing import Literal

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from histosynth.config import PatchSettings
from histosynth.errors import HistosynthError
from histosynth.patches.candidate_regions import CandidateRegions, find_candidate_regions
from histosynth.patches.grid_placement import place_on_grid
from histosynth.patches.placement import Placement, inside_share
from histosynth.patches.random_placement import place_randomly
from histosynth.patches.region import region_extent
from histosynth.slides.tissue import TissueMask

SLIDE = shapely.box(0, 0, 400, 300)


def clipped_area(ring: NDArray[np.float64], box: tuple[float, float, float, float]) -> float:
    """Return the area of a ring inside a box: Sutherland-Hodgman clipping and the shoelace formula, without GEOS."""
    points = [tuple(point) for point in ring]
    left, top, right, bottom = box
    for axis, limit, sign in ((0, left, 1), (0, right, -1), (1, top, 1), (1, bottom, -1)):
        clipped = []
        for here, there in zip(points, points[1:] + points[:1], strict=True):
            a, b = sign * (here[axis] - limit), sign * (there[axis] - limit)
            if a >= 0:
                clipped.append(here)
            if (a > 0 > b) or (a < 0 < b):
                t = a / (a - b)
                clipped.append(tuple(here[i] + t * (there[i] - here[i]) for i in (0, 1)))
        points = clipped
    x, y = np.array(points).reshape(-1, 2).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


@st.composite
def outlines(draw_: st.DrawFn) -> shapely.MultiPolygon:
    """Draw up to three star-shaped polygons, optionally with holes, some extending beyond the slide."""
    polygons = []
    for _ in range(draw_(st.integers(1, 3))):
        center = np.array([draw_(st.integers(-20, 420)), draw_(st.integers(-20, 320))])
        radii = np.array(draw_(st.lists(st.integers(10, 120), min_size=3, max_size=9)))
        angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
        shell = center + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
        hole = [center + 0.4 * (shell - center)] if draw_(st.booleans()) else []
        polygons.append(shapely.Polygon(shell, hole))
    area = shapely.union_all([polygon for polygon in polygons if polygon.is_valid])
    parts = [part for part in shapely.get_parts(area & SLIDE) if isinstance(part, shapely.Polygon)]
    assume(parts)
    return shapely.MultiPolygon(parts)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    area=outlines(),
    extent=st.integers(8, 60),
    step=st.integers(6, 60),
    least=st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]),
    jitter=st.sampled_from([None, 0.0, 0.2, 0.75, 0.99]),
    seed=st.integers(0, 3),
)
def test_regions_lie_on_the_slide_inside_the_outline_and_apart(
    area: shapely.MultiPolygon, extent: int, step: int, least: float, jitter: float | None, seed: int
) -> None:
    def place() -> Placement:
        """Place at random if `jitter` is None, else on a grid."""
        given = {
            "bounds": SLIDE,
            "extent": extent,
            "step": step,
            "min_share": least,
            "rng": np.random.default_rng(seed),
        }
        return place_randomly(area, **given) if jitter is None else place_on_grid(area, **given, jitter=jitter)

    regions = place()
    corners, min_distance = regions.corners, max(step, extent) if jitter is None else step * (1 - jitter)
    np.testing.assert_array_equal(corners, place().corners)
    assert len(corners) + sum(regions.rejected.values()) == regions.candidate_count
    assert (corners >= 0).all()
    assert (corners + extent <= [400, 300]).all()
    assert [tuple(c) for c in corners[:, ::-1]] == sorted({tuple(c) for c in corners[:, ::-1]})
    for corner in corners:
        box = (*map(float, corner), *map(float, corner + extent))
        inside = sum(
            clipped_area(np.array(polygon.exterior.coords[:-1]), box)
            - sum(clipped_area(np.array(hole.coords[:-1]), box) for hole in polygon.interiors)
            for polygon in area.geoms
        )
        assert inside >= least * extent**2 - 1e-4
    if len(corners) > 1:
        distance = np.abs(corners[:, None] - corners[None]).max(axis=2)
        assert distance[~np.eye(len(corners), dtype=bool)].min() >= max(min_distance, 1)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    area=outlines(),
    mask=arrays(np.bool_, (30, 40)),
    extent=st.integers(8, 60),
    stride=st.sampled_from([0.5, 1.0, 1.3]),
    jitter=st.sampled_from([0.0, 0.5]),
    placement=st.sampled_from(["grid", "random"]),
    seed=st.integers(0, 3),
)
def test_candidates_are_counted_have_tissue_and_keep_their_order(
    area: shapely.MultiPolygon,
    mask: NDArray[np.bool_],
    extent: int,
    stride: float,
    jitter: float,
    placement: Literal["grid", "random"],
    seed: int,
) -> None:
    chosen = PatchSettings(stride=stride, jitter=jitter, placement=placement, seed=seed, min_tissue=0.4)

    def find(slide_id: str) -> CandidateRegions:
        tissue = TissueMask(mask, downsample_x=10, downsample_y=10)
        return find_candidate_regions(area, tissue, bounds=SLIDE, extent=extent, settings=chosen, slide_id=slide_id)

    candidates = find("S")
    assert len(candidates) + sum(candidates.rejected.values()) == candidates.candidate_count
    assert len({tuple(corner) for corner in candidates.corners.tolist()}) == len(candidates)
    fine = mask.repeat(10, 0).repeat(10, 1)
    for (x, y), share in zip(candidates.corners, candidates.tissue, strict=True):
        assert share == pytest.approx(fine[y : y + extent, x : x + extent].mean())
        assert share >= 0.4
    # The order does not depend on the cap, which selects the first regions.
    np.testing.assert_array_equal(candidates.corners, find("S").corners)
    if len(candidates) > 8:
        assert candidates.corners.tolist() != find("T").corners.tolist()


def test_inside_share_is_exact() -> None:
    area = shapely.MultiPolygon([shapely.Polygon([(0, 0), (100, 0), (0, 100)])])
    share = inside_share(area, np.array([[0, 0], [50, 0], [45, 45], [90, 90]]), extent=20)
    # Clipped by x + y = 100: inside, inside, a triangle of legs 10 and so 50 of 400, outside.
    np.testing.assert_allclose(share, [1, 1, 50 / 400, 0], atol=1e-12)


def test_small_outline_yields_its_regions_at_any_position() -> None:
    # A region of interest of 1012 px is twelve pixels short of two regions.
    squares = [shapely.box(x, y, x + 1012, y + 1012) for x, y in ((523, 737), (2123, 1350))]
    regions = place_on_grid(
        shapely.MultiPolygon(squares), bounds=shapely.box(0, 0, 4096, 3072), extent=512, step=512, min_share=0.9
    )
    first, second = (
        [[523, 737], [1035, 737], [523, 1249], [1035, 1249]],
        [[2123, 1350], [2635, 1350], [2123, 1862], [2635, 1862]],
    )
    assert regions.corners.tolist() == first + second


def test_regions_of_neighboring_outlines_keep_their_distance() -> None:
    crossing = shapely.MultiPolygon([shapely.box(0, 0, 120, 100), shapely.box(121, 30, 190, 110)])
    regions = place_on_grid(crossing, bounds=SLIDE, extent=50, step=50, min_share=0.4)
    assert regions.rejected["too_close"] > 0


@pytest.mark.parametrize(("mpp", "extent"), [(0.25, 512), (0.5, 256), (0.499, 257), (0.2305, 555), (1.0, 128)])
def test_region_extent_is_a_length_in_microns(mpp: float, extent: int) -> None:
    assert region_extent(PatchSettings(), mpp=mpp) == extent
    assert extent * mpp == pytest.approx(128, abs=mpp / 2)


def test_upscaling_is_rejected() -> None:
    with pytest.raises(
        HistosynthError, match=r"only 64 px per side, fewer than a patch of 128 px; lower patches.patch_px"
    ):
        region_extent(PatchSettings(), mpp=2.0)


def test_random_placement_covers_the_theoretical_share() -> None:
    # Random sequential adsorption of aligned squares jams at 0.562 of the area (Feder 1980).
    area = shapely.MultiPolygon([shapely.box(0, 0, 3000, 3000)])
    regions = place_randomly(
        area, bounds=area.geoms[0], extent=50, step=50, min_share=1.0, rng=np.random.default_rng(0)
    )
    assert len(regions.corners) * 50**2 / 3000**2 == pytest.approx(0.53, abs=0.05)
    assert 30 < (regions.corners % 50).std(axis=0).max() * 3.4641 < 60  # as uniform as U(0, 50): not on a lattice


def test_random_placement_finds_the_only_region_of_a_small_outline() -> None:
    area = shapely.MultiPolygon([shapely.box(33, 71, 83, 121)])
    placement = place_randomly(area, bounds=SLIDE, extent=50, step=50, min_share=1.0, rng=np.random.default_rng(0))
    assert placement.corners.tolist() == [[33, 71]]


def test_jitter_shifts_regions_by_up_to_half_its_share_of_a_step() -> None:
    area = shapely.MultiPolygon([shapely.box(0, 0, 4000, 4000)])
    given = {"bounds": area.geoms[0].buffer(500), "extent": 100, "step": 100, "min_share": 0.0}
    moved = place_on_grid(area, **given, jitter=0.4, rng=np.random.default_rng(0)).corners
    shift = (moved + 50) % 100 - 50
    assert (shift.min(), shift.max()) == (-20, 20)
    assert abs(shift.mean()) < 1
    assert len(moved) == 1600


def test_jitter_keeps_regions_at_the_edge_on_the_slide() -> None:
    area = shapely.MultiPolygon([shapely.box(0, 0, 400, 300)])
    given = {"bounds": SLIDE, "extent": 50, "step": 50, "min_share": 1.0}
    placement = place_on_grid(area, **given, jitter=0.9, rng=np.random.default_rng(0))
    assert len(placement.corners) == placement.candidate_count == 8 * 6


def test_inside_share_is_exact_for_outlines_of_many_points() -> None:
    angle = np.linspace(0, 2 * np.pi, 6000, endpoint=False)
    radius = 2000 + 300 * np.sin(97 * angle)
    star = shapely.Polygon(np.stack([2500 + radius * np.cos(angle), 2500 + radius * np.sin(angle)], axis=1))
    corners = np.stack(np.meshgrid(np.arange(0, 5000, 130), np.arange(0, 5000, 170)), axis=-1).reshape(-1, 2)
    squares = shapely.box(*corners.T, *(corners + 128).T)
    share = inside_share(shapely.MultiPolygon([star]), corners, extent=128)
    assert share == pytest.approx(shapely.area(shapely.intersection(star, squares)) / 128**2, abs=1e-9)
    assert ((share > 0) & (share < 1)).sum() > 100
