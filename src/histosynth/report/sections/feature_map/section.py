"""The section with the feature map: where do synthetic patches lie among real ones, per label?"""

from typing import Any

from histosynth.report.charts import chart_files
from histosynth.report.sections.feature_map.chart import (
    DRAWING_ORDER,
    MAX_SHOWN,
    Frame,
    dots,
    frame_of,
    map_chart,
    means,
    shown_points,
)
from histosynth.report.sections.feature_map.measure import FeatureMap, measure_feature_map
from histosynth.report.sections.section import Section, SectionInputs


def feature_map_section(inputs: SectionInputs) -> Section | None:
    """Return the section; None if the real features vary in fewer than two directions."""
    feature_map = measure_feature_map(inputs.activations)
    if feature_map is None:
        return None
    frame = frame_of(feature_map)
    panels = {label: _panel(feature_map, label, frame) for label in feature_map.points}
    return Section(
        key="feature_map",
        facts=_facts(feature_map),
        context={
            "shares": feature_map.shares,
            "height": frame.box_height,
            "panels": panels,
            "present": [side for side in reversed(DRAWING_ORDER) if any(side in panel for panel in panels.values())],
            "max_shown": MAX_SHOWN,
        },
        charts=chart_files(map_chart(feature_map), name="feature_map"),
    )


def _facts(feature_map: FeatureMap) -> dict[str, Any]:
    """Return the means in coordinates of the axes, in units of the features; single points are not recorded."""
    return {
        "variance_shares": feature_map.shares,
        "labels": {
            label: {
                side: {
                    "n": len(sides[side]),
                    "mean": mean.tolist(),
                    "shown": len(shown_points(feature_map, label)[side]),
                }
                for side, mean in means(sides).items()
            }
            for label, sides in feature_map.points.items()
        },
    }


def _panel(feature_map: FeatureMap, label: str, frame: Frame) -> dict[str, Any]:
    """Return the path of the dots and the position of the mean of each side."""
    shown = shown_points(feature_map, label)
    return {
        side: {"dots": dots(shown[side], frame), "mean": frame.box(mean[None])[0], "shown": len(shown[side])}
        for side, mean in means(feature_map.points[label]).items()
    }
