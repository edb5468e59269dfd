"""Mutated slides and outlines: each ends in success or a one-line error, within 30 s and 2 GB.

They run in processes of their own, so that a hang or a crash inside a library is a failure and not the end of the
tests. `HISTOSYNTH_FUZZ=20000` tries more mutations per format than the default.
"""

import json
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from dicom_files import write_instance
from histosynth.errors import HistosynthError
from histosynth.slides.annotations import SlideFrame, read_outlines, summarize_outlines
from histosynth.slides.open import open_slide
from histosynth.slides.tissue import tissue_mask
from histosynth.slides.types import Box
from mutations import VALUES

MUTATIONS = int(os.environ.get("HISTOSYNTH_FUZZ", "500"))
MEMORY_BYTES, CASE_S = 2 << 30, 30
SIDE = 96
APERIO = "Aperio Image Library v11.2.1\n96x96 (32x32) JPEG/RGB Q=30|AppMag = 20|MPP = 0.4990"
NUMBERS = ("0", "-1", "1e309", "nan", "9" * 400, "1e8", "", "null", "[]", "x")
RING = ((10, 10), (80, 12), (70, 80), (12, 70))
FRAME = SlideFrame(slide_id="s", width_px=SIDE, height_px=SIDE, mpp_x=1, mpp_y=1, center_x_nm=0, center_y_nm=0)


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(100, 220, (SIDE, SIDE, 3)).astype(np.uint8)


def tiff(*, ome: bool = False, description: str | None = None, **options: object) -> bytes:
    """Write a pyramid of two levels."""
    buffer = BytesIO()
    with tifffile.TiffWriter(buffer, ome=ome) as writer:
        for n in range(2):
            writer.write(
                np.ascontiguousarray(picture()[:: n + 1, :: n + 1]),
                tile=(32, 32),
                photometric="rgb",
                subfiletype=n,
                subifds=1 if ome and n == 0 else None,
                description=description if n == 0 else None,
                metadata={"axes": "YXS", "PhysicalSizeX": 0.5} if ome and n == 0 else None,
                **options,
            )
    return buffer.getvalue()


def image(kind: str) -> bytes:
    buffer = BytesIO()
    Image.fromarray(picture()).save(buffer, kind)
    return buffer.getvalue()


def dicom() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        return write_instance(Path(directory) / "a.dcm", picture(), series="1.2.3", mpp=0.5).read_bytes()


def geojson() -> bytes:
    ring = [*map(list, RING), list(RING[0])]
    return json.dumps(
        {
            "type": "FeatureCollection",
            "features": [
                {
                    "type": "Feature",
                    "id": "a",
                    "geometry": {
                        "type": "MultiPolygon",
                        "coordinates": [[ring, [[30, 30], [40, 30], [35, 40], [30, 30]]]],
                    },
                    "properties": {"objectType": "annotation", "classification": {"name": "Tumor"}},
                }
            ],
        }
    ).encode()


def xml(point: str, before: str, after: str) -> bytes:
    return (before + "".join(point.format(x=x, y=y) for x, y in RING) + after).encode()


SLIDES: dict[str, Callable[[], bytes]] = {
    "jpeg.svs": lambda: tiff(description=APERIO, compression="jpeg"),
    "deflate.tif": lambda: tiff(compression="zlib", predictor=True),
    "lzw.tif": lambda: tiff(compression="lzw"),
    "a.ome.tif": lambda: tiff(ome=True, compression="jpeg"),
    "a.png": lambda: image("PNG"),
    "a.jpg": lambda: image("JPEG"),
    "a.dcm": dicom,
}
OUTLINES: dict[str, Callable[[], bytes]] = {
    "a.geojson": geojson,
    "asap.xml": lambda: xml(
        '<Coordinate Order="0" X="{x}" Y="{y}"/>',
        '<ASAP_Annotations><Annotations><Annotation Name="a" Type="Polygon" PartOfGroup="Tumor"><Coordinates>',
        '</Coordinates></Annotation></Annotations><AnnotationGroups><Group Name="Tumor" PartOfGroup="None"/>'
        "</AnnotationGroups></ASAP_Annotations>",
    ),
    "imagescope.xml": lambda: xml(
        '<Vertex X="{x}" Y="{y}"/>',
        '<Annotations><Annotation Name="Tumor"><Regions><Region Type="0" NegativeROA="0"><Vertices>',
        "</Vertices></Region></Regions></Annotation></Annotations>",
    ),
    "halo.annotations": lambda: xml(
        '<V X="{x}" Y="{y}"/>',
        '<Annotations><Annotation Name="Tumor"><Regions><Region Type="Polygon" NegativeROA="0"><Vertices>',
        "</Vertices></Region></Regions></Annotation></Annotations>",
    ),
    "a.ndpa": lambda: xml(
        "<point><x>{x}</x><y>{y}</y></point>",
        '<annotations><ndpviewstate id="1"><title>Tumor</title><coordformat>nanometers</coordformat>'
        '<annotation type="freehand"><closed>1</closed><pointlist>',
        "</pointlist></annotation></ndpviewstate></annotations>",
    ),
}


REGRESSIONS = {"jpeg.svs": (2266, 2387)}
"""Mutations beyond the default number that have ended in a traceback."""
FORMATS = {"slides": SLIDES, "outlines": OUTLINES}


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="limits of POSIX")
@pytest.mark.parametrize("kind", FORMATS)
def test_mutated_file_ends_in_success_or_a_one_line_error(kind: str) -> None:
    command = [sys.executable, __file__, kind, str(MUTATIONS)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}  # with tests/helpers
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    tried = run.stdout.splitlines()
    assert run.returncode == 0, f"{tried[-1:]}: exit {run.returncode}, {run.stderr[-2000:]}"
    assert len(tried) == sum(MUTATIONS + len(REGRESSIONS.get(name, ())) for name in FORMATS[kind])


def mutate(content: bytes, rng: np.random.Generator, *, is_text: bool) -> bytes:
    """Return a copy with one to three faults, half of them near the beginning, where structure is."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        limit = len(data) if rng.random() < 0.5 else min(len(data), 600)
        at = int(rng.integers(0, max(limit, 1)))
        match int(rng.integers(0, 8 if is_text else 6)):
            case 0:
                data[at : at + 1] = rng.integers(0, 256, 1, np.uint8).tobytes()
            case 1:
                data[at : at + 4] = struct.pack("<I", int(rng.choice([0, 1, 65_535, 2**31, 2**32 - 1, at, 8])))
            case 2:
                del data[at : at + int(rng.integers(1, 64))]
            case 3:
                data = data[:at]
            case 4:
                start = int(rng.integers(0, max(limit, 1)))
                data[at:at] = data[start : start + int(rng.integers(1, 200))]
            case 5:
                data[at : at + 64] = bytes(len(data[at : at + 64]))
            case 6:
                data[at:at] = VALUES[int(rng.integers(len(VALUES)))]
            case _:
                digits = [n for n, byte in enumerate(data) if chr(byte).isdigit()] or [0]
                at = int(rng.choice(digits))
                data[at : at + 1] = str(rng.choice(NUMBERS)).encode()
    return bytes(data)


def read(path: Path) -> None:
    """Do with a file what the commands do."""
    if path.name in OUTLINES:
        summarize_outlines(path)
        read_outlines(path, tumor_classes=["Tumor"], frame=FRAME)
        return
    with open_slide(path) as slide:
        tissue_mask(slide)
        for level in range(len(slide.levels)):
            slide.read(Box(x=-5, y=20, width=60, height=60), level=level)


def main(kind: str, count: int) -> None:
    """Try mutations of the formats of a kind, printing each as it begins."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    with tempfile.TemporaryDirectory() as directory:
        for name, make in FORMATS[kind].items():
            path, content = Path(directory) / name, make()
            path.write_bytes(content)
            read(path)  # unchanged, it is read
            for seed in (*range(count), *REGRESSIONS.get(name, ())):
                print(name, seed, flush=True)
                path.write_bytes(mutate(content, np.random.default_rng(seed), is_text=kind == "outlines"))
                signal.alarm(CASE_S)
                with suppress(HistosynthError):
                    read(path)
                signal.alarm(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
