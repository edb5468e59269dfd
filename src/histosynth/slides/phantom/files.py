"""Files of a phantom: a pyramid for OpenSlide, an outline in the format of QuPath, a table of nuclei."""

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tifffile
from numpy.typing import NDArray
from PIL import Image

from histosynth.rundir import atomic_write
from histosynth.slides.phantom.nuclei import KINDS, Nuclei

_TILE_PX = 256
_LEVELS = (1, 4, 16)
_JPEG_QUALITY = 90


def write_pyramid(path: Path, image: NDArray[np.uint8], *, mpp: float) -> None:
    """Write (H, W, 3) as a tiled pyramid (levels 1, 4, 16; JPEG) that OpenSlide reads with its microns per pixel.

    The file contains neither date nor program name, so that equal images give equal files.
    """
    whole = Image.fromarray(image)
    with atomic_write(path) as file, tifffile.TiffWriter(file) as tiff:
        for downsample in _LEVELS:
            per_cm = 1e4 / (mpp * downsample)
            tiff.write(
                np.asarray(whole.reduce(downsample)) if downsample > 1 else image,
                tile=(_TILE_PX, _TILE_PX),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": _JPEG_QUALITY},
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                subfiletype=0 if downsample == 1 else 1,
                metadata=None,
                software=False,
            )


def outline_geojson(ring: NDArray[np.float64], *, name: str) -> dict[str, Any]:
    """Return a ring (N, 2) as QuPath's FeatureCollection of one annotation of class `Tumor`."""
    coordinates = ring.round(2).tolist()
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "id": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
                "geometry": {"type": "Polygon", "coordinates": [[*coordinates, coordinates[0]]]},
                "properties": {
                    "objectType": "annotation",
                    "classification": {"name": "Tumor", "color": [200, 0, 0]},
                },
            }
        ],
    }


def nuclei_table(cells: Nuclei) -> pa.Table:
    """Return the table of nuclei: x, y, radius, major, minor (level-0 px), eccentricity, angle (radians), kind."""
    major, minor = np.maximum(cells["major"], cells["minor"]), np.minimum(cells["major"], cells["minor"])
    return pa.table(
        {
            "x": cells["x"],
            "y": cells["y"],
            "radius": np.sqrt(major * minor),
            "major": major,
            "minor": minor,
            "eccentricity": np.sqrt(1.0 - (minor / major) ** 2),
            "angle": cells["angle"],
            "kind": pa.array([KINDS[kind] for kind in cells["kind"]]),
        }
    )
