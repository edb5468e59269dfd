"""Components of phantoms, compared with closed forms and independent implementations."""

import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from histosynth.slides.phantom.fields import Blob, Frame, fibers, noise
from histosynth.slides.phantom.lesions import capillaries, necrosis
from histosynth.slides.phantom.nuclei import distances, lattice, nuclei, stamp
from histosynth.slides.phantom.optics import Stain, optical_density, transmit, unmix

FRAME = Frame(width_px=260, height_px=200, mpp=0.5)


def stain(**changes: object) -> Stain:
    pure = {"hematoxylin": (0.6, 0.8, 0.0), "eosin": (0.0, 0.6, 0.8), "hematoxylin_strength": 1.0,
            "eosin_strength": 1.0, "glass": (0.0, 0.0, 0.0)}  # fmt: skip
    return Stain(**(pure | changes))


def test_transmission_follows_beer_lambert() -> None:
    one, none = np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)
    assert transmit(optical_density(none, none, stain()))[0, 0] == pytest.approx([255.0, 255.0, 255.0])
    assert transmit(optical_density(one, none, stain()))[0, 0] == pytest.approx([255 * 10**-0.6, 255 * 10**-0.8, 255])
    assert transmit(optical_density(none, one, stain(eosin_strength=0.5, glass=(0.1, 0.1, 0.1))))[
        0, 0
    ] == pytest.approx([255 * 10**-0.1, 255 * 10**-0.4, 255 * 10**-0.5])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_unmixing_inverts_the_optics(seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn, truth = Stain.draw(rng), rng.uniform(0.0, 0.9, (20, 20, 2)).astype(np.float32)
    for vector in (drawn.hematoxylin, drawn.eosin):
        assert math.hypot(*vector) == pytest.approx(1.0, abs=1e-5)
    light = transmit(optical_density(truth[..., 0], truth[..., 1], drawn))
    # Rounding changes a level of about 16 by up to a half: an error in OD of 0.014, of some hundredths after unmixing.
    assert unmix(np.rint(light).astype(np.uint8), drawn) == pytest.approx(truth, abs=0.06)


@given(angle=st.floats(0.0, 3.14), x=st.floats(20.0, 40.0), y=st.floats(20.0, 40.0), elongation=st.floats(1.3, 3.0))
@settings(max_examples=25, deadline=None)
def test_stamped_nucleus_has_its_position_area_and_angle(angle: float, x: float, y: float, elongation: float) -> None:
    cell = nuclei(np.array([[x, y]]), kind="tumor", radius=np.array([8.0]), elongation=elongation,
                  angle=np.array([angle]), stain=1.0, waver=0.0, chromatin=0.0, rim=0.0,
                  rng=np.random.default_rng(0))  # fmt: skip
    canvas, body = np.zeros((2, 60, 60), np.float32)
    stamp(canvas, body, cell, texture=np.zeros_like(canvas), softness_px=1.0, gap=0.6)
    assert body.sum() == pytest.approx(math.pi * 8.0**2, rel=0.02)
    rows, columns = np.mgrid[:60, :60] + 0.5
    dx, dy = columns - x, rows - y
    assert [(body * dx).sum() / body.sum(), (body * dy).sum() / body.sum()] == pytest.approx([0.0, 0.0], abs=0.05)
    measured = 0.5 * math.atan2(2.0 * (body * dx * dy).sum(), (body * (dx**2 - dy**2)).sum())
    assert math.sin(measured - angle) == pytest.approx(0.0, abs=0.03)
    assert np.array_equal(canvas, body)


def test_nucleus_at_the_edge_of_the_slide_is_clipped() -> None:
    cell = nuclei(np.array([[0.0, 30.0]]), kind="tumor", radius=np.array([8.0]), elongation=1.0, angle=np.zeros(1),
                  stain=1.0, waver=0.0, chromatin=0.0, rim=0.0, rng=np.random.default_rng(0))  # fmt: skip
    canvas, body = np.zeros((2, 60, 60), np.float32)
    stamp(canvas, body, cell, texture=np.zeros_like(canvas), softness_px=1.0, gap=0.6)
    assert body.sum() == pytest.approx(math.pi * 32.0, rel=0.02)


def test_distances_agree_with_a_k_d_tree() -> None:
    points = lattice(FRAME, spacing_um=12.0, jitter=0.3, rng=np.random.default_rng(1))
    near, next_near = distances(FRAME, points, reach_um=10.0)
    rows, columns = np.mgrid[: FRAME.height_px, : FRAME.width_px] + 0.5
    expected, _ = cKDTree(points).query(np.stack([columns, rows], -1), k=2)
    # A window is a square around the pixel of its point and may end up to one pixel before the reach.
    inner = 10.0 - 2 * FRAME.mpp
    for distance, truth in zip((near, next_near), np.moveaxis(expected * FRAME.mpp, -1, 0), strict=True):
        assert np.minimum(distance, inner) == pytest.approx(np.minimum(truth, inner), abs=1e-3)


def test_lattice_has_its_density_and_spacing() -> None:
    frame = Frame(width_px=1000, height_px=800, mpp=0.5)
    points = lattice(frame, spacing_um=10.0, jitter=0.0, rng=np.random.default_rng(2))
    assert len(points) == pytest.approx(500 * 400 / (math.sqrt(0.75) * 10.0**2), rel=0.02)
    nearest, _ = cKDTree(points).query(points, k=2)
    assert nearest[:, 1].min() * frame.mpp == pytest.approx(10.0, rel=1e-6)


@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 2, 2.5])
def test_fibers_follow_their_direction(angle: float) -> None:
    texture = fibers(FRAME, np.full((20, 20), angle, np.float32), length_um=12.0, width_um=1.0,
                  rng=np.random.default_rng(3)).astype(np.float64)  # fmt: skip
    dy, dx = np.gradient(gaussian_filter(texture, 1.0))
    # Structure tensor: the gradient is steepest across the fibers.
    across = 0.5 * math.atan2(2.0 * (dx * dy).sum(), (dx**2 - dy**2).sum())
    assert math.cos(across - angle) == pytest.approx(0.0, abs=0.12)


def test_noise_has_its_correlation_length() -> None:
    frame = Frame(width_px=600, height_px=500, mpp=0.5)
    field = noise(frame, scale_um=10.0, rng=np.random.default_rng(4))
    assert field.shape == (500, 600)
    assert field.mean() == pytest.approx(0.0, abs=0.15)
    assert np.corrcoef(field[:, :-4].ravel(), field[:, 4:].ravel())[0, 1] > 0.9
    assert abs(np.corrcoef(field[:, :-60].ravel(), field[:, 60:].ravel())[0, 1]) < 0.15


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_outline_is_valid_and_has_depth_zero(seed: int) -> None:
    blob = Blob.draw(FRAME, radius=0.42, rng=np.random.default_rng(seed))
    ring = blob.polygon()
    assert shapely.Polygon(ring).is_valid
    assert blob.inside(*ring.T) == pytest.approx(np.zeros(len(ring)), abs=1e-9)
    depth = blob.depth(FRAME)
    rows, columns = np.mgrid[: FRAME.height_px, : FRAME.width_px] + 0.5
    within = shapely.contains_xy(shapely.Polygon(blob.polygon(1000)), columns, rows)
    assert (within == (depth > 0)).mean() > 0.99


@pytest.mark.parametrize("seed", range(4))
def test_necrosis_covers_a_small_part_of_the_tumor(seed: int) -> None:
    frame, rng = Frame(width_px=800, height_px=800, mpp=0.5), np.random.default_rng(seed)
    depth = Blob.draw(frame, radius=0.385, rng=rng).depth(frame)
    rim, outward = necrosis(frame, depth, rng)
    assert 0.01 < ((rim < 0) & (depth > 0)).sum() / (depth > 0).sum() < 0.10
    assert not ((rim < 0) & (depth <= 0)).any()
    # A step outward from near the rim leads away from the focus.
    rows, columns = np.nonzero((rim > 3) & (rim < 6))
    step = 20 * np.stack([np.sin(outward[rows, columns]), np.cos(outward[rows, columns])])
    there = rim[tuple((np.stack([rows, columns]) + step).astype(int))]
    assert (there > rim[rows, columns]).mean() > 0.95


def test_capillaries_lie_in_the_tumor_and_their_lining_on_their_wall() -> None:
    frame, rng = Frame(width_px=800, height_px=800, mpp=0.5), np.random.default_rng(0)
    depth = Blob.draw(frame, radius=0.385, rng=rng).depth(frame)
    axis, cells = capillaries(frame, depth, per_mm2=40.0, rng=rng)
    assert not (axis[depth < -9.0] < 9.0).any()
    assert 0.02 < (axis[depth > 0] < 2.5).mean() < 0.25
    at_cells = axis[cells["y"].astype(int), cells["x"].astype(int)]
    assert (at_cells < 3.5).all()
