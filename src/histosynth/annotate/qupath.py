"""Write outlines as QuPath GeoJSON, which `patches` and QuPath read.

One feature per outline, with the keys of QuPath's own exports: `objectType`, `classification` with name and color, and
a comment as the description that QuPath shows (`metadata.ANNOTATION_DESCRIPTION`, PathAnnotationObject.java). Pixels
are those of the full resolution. QuPath crops a slide to its scanned bounds and counts from their corner
(github.com/qupath/qupath/issues/820), so that is what the file does too.
"""

import json
from collections.abc import Sequence
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import shapely

from histosynth.annotate.classes import OutlineClass, class_named
from histosynth.annotate.drawing import Drawing, Outline


class QuPathWriter:
    """Writes the drawings of one slide; features of outlines that have not changed are kept.

    Args:
        slide_id: gives the features their ids, together with those of the outlines.
        origin: corner of the scanned bounds in level-0 pixels.
        classes: with their colors.
    """

    def __init__(self, *, slide_id: str, origin: tuple[int, int], classes: Sequence[OutlineClass]) -> None:
        self._slide_id, self._origin, self._classes = slide_id, np.array(origin, float), classes
        self._features: dict[str, tuple[Outline, bytes]] = {}

    def write(self, drawing: Drawing) -> bytes:
        """Return the content of the file."""
        self._features = {each.id: (each, self._feature(each)) for each in drawing}
        features = b",\n".join(feature for _, feature in self._features.values())
        return b'{"type":"FeatureCollection","features":[\n' + features + b"\n]}\n"

    def _feature(self, outline: Outline) -> bytes:
        known, feature = self._features.get(outline.id, (None, b""))
        return feature if known is outline else self._new_feature(outline)

    def _new_feature(self, outline: Outline) -> bytes:
        polygon = outline.polygon
        if self._origin.any():
            polygon = shapely.transform(polygon, lambda points: points - self._origin)
        classification = class_named(self._classes, outline.class_name)
        properties: dict[str, object] = {
            "objectType": "annotation",
            "classification": {"name": outline.class_name, "color": classification.rgb},
        }
        if outline.comment:
            properties["metadata"] = {"ANNOTATION_DESCRIPTION": outline.comment}
        feature_id = uuid5(NAMESPACE_URL, f"histosynth:{self._slide_id}:{outline.id}")
        return (
            f'{{"type":"Feature","id":"{feature_id}","geometry":{shapely.to_geojson(polygon)},'
            f'"properties":{json.dumps(properties, ensure_ascii=False)}}}'
        ).encode()
