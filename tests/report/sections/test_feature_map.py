"""The feature map: its plane is that of the first singular vectors, and the chart shows what was measured."""

import numpy as np
import pytest

from histosynth.report.charts import chart_files
from histosynth.report.sections.feature_map.chart import MAX_SHOWN, dots, frame_of, map_chart, shown_points
from histosynth.report.sections.feature_map.measure import FeatureMap, measure_feature_map, principal_plane

SIDES = ("held_out", "train", "fake")


def test_the_plane_is_that_of_the_first_singular_vectors():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 7)) @ rng.normal(size=(7, 7)) + rng.normal(size=7)
    plane = principal_plane(x)
    _, s, vt = np.linalg.svd(x - x.mean(axis=0))
    for k, (axis, share) in enumerate(zip(plane.axes, plane.shares, strict=True)):
        assert abs(axis @ vt[k]) == pytest.approx(1)
        assert share == pytest.approx(s[k] ** 2 / np.sum(s**2))
        assert axis[np.abs(axis).argmax()] > 0
    coordinates = plane.place(x)
    np.testing.assert_allclose(coordinates.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.cov(coordinates.T), np.diag(s[:2] ** 2 / 199), atol=1e-10)


@pytest.mark.parametrize("x", [np.ones((9, 4)), np.outer(np.arange(9.0), [1, 2, 3]), np.arange(9.0)[:, None]])
def test_features_that_vary_in_one_direction_have_no_plane(x):
    assert principal_plane(x) is None


def test_only_real_patches_determine_the_axes(make, real, fake, fake_rows, activations):
    one = measure_feature_map(activations(real, fake))
    flat = [p for p in fake_rows if p.label == "IDHmut"]
    other = measure_feature_map(activations(real, make("less", flat + fake_rows[20:30])))
    assert other.shares == one.shares
    np.testing.assert_array_equal(other.points["IDHwt"]["train"], one.points["IDHwt"]["train"])


def test_the_record_holds_the_means(real, fake, report, activations):
    content = report(real, fake, sections=("feature_map",))["feature_map"]
    assert list(content) == ["variance_shares", "labels"]
    feature_map = measure_feature_map(activations(real, fake))
    for label, n in (("IDHmut", 14), ("IDHwt", 10)):
        for side in SIDES:
            assert content["labels"][label][side]["n"] == n
            np.testing.assert_allclose(
                content["labels"][label][side]["mean"], feature_map.points[label][side].mean(axis=0)
            )
    apart = [np.subtract(*(content["labels"][k][side]["mean"][0] for k in ("IDHmut", "IDHwt"))) for side in SIDES]
    assert min(map(abs, apart)) > 50, "the colors of the labels vary most"
    assert len(set(np.sign(apart))) == 1


def toy(labels: int = 2, n: int = 1000) -> FeatureMap:
    rng = np.random.default_rng(1)
    points = {f"l{k}": {side: rng.normal(size=(n, 2)) * [3, 1] + k for side in SIDES} for k in range(labels)}
    return FeatureMap(shares=(0.6, 0.2), points=points)


def test_the_first_points_of_each_side_are_shown_within_the_frame():
    feature_map = toy()
    for label in feature_map.points:
        shown = shown_points(feature_map, label)
        assert list(shown) == ["train", "held_out", "fake"], "synthetic points are on top"
        for side, points in shown.items():
            np.testing.assert_array_equal(points, feature_map.points[label][side][: MAX_SHOWN // 2])
            boxed = np.array(frame_of(feature_map).box(points))
            assert boxed.min() > 0
            assert (boxed < [100, frame_of(feature_map).box_height]).all()


def test_y_increases_upward_and_both_axes_have_one_scale():
    frame = frame_of(toy())
    a, b, c = np.array(frame.box(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])))
    assert b[0] - a[0] == pytest.approx(a[1] - c[1])
    assert dots(np.array([[0.0, 0.0]]), frame) == f"M{a[0]:.1f} {a[1]:.1f}h0"


def test_the_bytes_of_the_chart_depend_only_on_the_points():
    files = [chart_files(map_chart(toy(labels=k)), name="feature_map") for k in (2, 2, 4)]
    assert list(files[0]) == ["feature_map.png", "feature_map.svg"]
    assert files[0] == files[1]
    assert all(files[0][name] != files[2][name] for name in files[0])
    assert b"<dc:date>" not in files[0]["feature_map.svg"]
