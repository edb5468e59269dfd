"""A shape combined with a polygon in a window gives what combining the whole gives."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import Polygon

from histosynth.annotate import local_overlay
from histosynth.annotate.geometry import GRID_PX, brush_shape, polygons_on_grid
from histosynth.annotate.local_overlay import combine

PLACES = st.tuples(st.floats(0, 1000), st.floats(0, 1000))


def wavy(vertices: int, seed: int, *, hole: bool = True) -> Polygon:
    """Return a star-shaped polygon with an irregular boundary, and a hole."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    radius = 350 + sum(rng.normal(0, 60 / k) * np.cos(k * angle + rng.uniform(0, 6)) for k in range(1, 9))
    radius += rng.uniform(-4, 4, vertices)
    around = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    inner = [500 + 80 * around] if hole else []
    (polygon, *_) = polygons_on_grid(Polygon(500 + radius[:, None] * around, inner).buffer(0))
    return polygon


@given(
    seed=st.integers(0, 50),
    vertices=st.integers(20, 400),
    path=st.lists(PLACES, min_size=1, max_size=5),
    radius=st.floats(2, 150),
    add=st.booleans(),
    hole=st.booleans(),
)
def test_the_window_gives_what_the_whole_gives(
    seed: int, vertices: int, path: list[tuple[float, float]], radius: float, add: bool, hole: bool
) -> None:
    polygon = wavy(vertices, seed, hole=hole)
    shape = shapely.MultiPolygon(polygons_on_grid(brush_shape(path, radius)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_overlay, "_FEW_VERTICES", 0)
        parts = combine(polygon, shape, add=add)
    whole = (shapely.union if add else shapely.difference)(polygon, shape, grid_size=GRID_PX)

    assert all(part.is_valid for part in parts)
    coordinates = shapely.get_coordinates(parts) / GRID_PX
    assert np.array_equal(coordinates, np.round(coordinates))
    difference = shapely.symmetric_difference(shapely.MultiPolygon(parts), whole).area
    assert difference <= GRID_PX * shape.length + 2  # rounding of the vertices at the shape, and specks


def test_the_window_is_used_and_leaves_distant_vertices_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    polygon = wavy(5000, 3)
    monkeypatch.setattr(local_overlay, "polygons_on_grid", None)  # combining the whole would need it
    x, y = polygon.exterior.coords[100]
    (part,) = combine(polygon, shapely.MultiPolygon(polygons_on_grid(brush_shape([(x, y)], 25))), add=True)
    before, after = ({tuple(point) for point in shapely.get_coordinates(each)} for each in (polygon, part))
    distant = {point for point in before if np.hypot(point[0] - x, point[1] - y) > 30}
    assert distant <= after
    assert all(np.hypot(point[0] - x, point[1] - y) < 30 for point in after - before)


def test_edges_on_the_border_of_every_window_are_combined_as_a_whole() -> None:
    ticks = [(float(k), 0.0) for k in range(0, 1200)] + [(float(k), 50.0) for k in range(1199, -1, -1)]
    comb = Polygon(ticks)
    shape = shapely.box(100.25, 10, 110, 70)
    assert shapely.union_all(combine(comb, shape, add=True)).equals(comb.union(shape))
