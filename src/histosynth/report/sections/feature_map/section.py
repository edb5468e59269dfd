"""The section with the map: where synthetic patches lie among real ones, label by label."""

from typing import Any

from histosynth.report.charts import chart_files
from histosynth.report.sections.feature_map.chart import (
    DRAWN,
    SHOWN,
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
    """The map of the patches of all comparisons; none where the real features vary in fewer than two directions."""
    found = measure_feature_map(inputs.activations)
    if found is None:
        return None
    frame = frame_of(found)
    panels = {label: _panel(found, label, frame) for label in found.points}
    return Section(
        key="feature_map",
        facts=_facts(found),
        context={
            "shares": found.shares,
            "height": frame.box_height,
            "panels": panels,
            "present": [side for side in reversed(DRAWN) if any(side in panel for panel in panels.values())],
            "most": SHOWN,
        },
        charts=chart_files(map_chart(found), name="feature_map"),
    )


def _facts(found: FeatureMap) -> dict[str, Any]:
    """Coordinates are those of the axes, in the units of the features; points are drawn, not recorded."""
    return {
        "variance_shares": found.shares,
        "labels": {
            label: {
                side: {"n": len(sides[side]), "mean": mean.tolist(), "shown": len(shown_points(found, label)[side])}
                for side, mean in means(sides).items()
            }
            for label, sides in found.points.items()
        },
    }


def _panel(found: FeatureMap, label: str, frame: Frame) -> dict[str, Any]:
    """For each side the path of its dots and the place of its mean."""
    shown = shown_points(found, label)
    return {
        side: {"dots": dots(shown[side], frame), "mean": frame.box(mean[None])[0], "shown": len(shown[side])}
        for side, mean in means(found.points[label]).items()
    }
