"""Measure how often damage inside a JPEG is found, and whether an undamaged file is ever called damaged.

Needs a folder of folders with `images/` (tiles of real tissue). Crops of 224 px are saved as JPEG in four ways (quality
50 to 95, every subsampling, progressive, with restart markers), and damaged in three: the second half of the data
zeroed, 200 bytes anywhere zeroed, one bit flipped. Counted are files that decode without an error to other pixels.

It takes a minute on one core; `--quick` uses every twentieth tile. `ratio` is the share found of the half-zeroed files.

    .venv/bin/python benchmarks/data/jpeg_damage.py DATA [--quick]
"""

import argparse
import json
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image

from histosynth.slides.jpeg_damage import find_jpeg_damage

WAYS: list[dict[str, Any]] = [
    {"quality": 75},
    {"quality": 95, "subsampling": 0},
    {"quality": 50, "progressive": True},
    {"quality": 90, "subsampling": 1, "restart_marker_rows": 3},
]
TILES, SIDE_PX, HOLE_BYTES = 270, 224, 200


def main() -> None:
    """Print the counts, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    files = sorted(given.data.glob("*/images/*"))
    files = files[:: max(1, len(files) // TILES) * (20 if given.quick else 1)]
    rng = np.random.default_rng(0)
    found, silent = Counter[str](), Counter[str]()
    for file in files:
        with Image.open(file) as opened:
            tile = opened.convert("RGB").crop((0, 0, min(SIDE_PX, opened.width), min(SIDE_PX, opened.height)))
        for way in WAYS:
            buffer = BytesIO()
            tile.save(buffer, "JPEG", **way)
            data = buffer.getvalue()
            silent["undamaged"] += 1
            found["undamaged"] += find_jpeg_damage(data) is not None
            for name, damaged in damages(data, rng=rng).items():
                if differs(damaged, data):
                    silent[name] += 1
                    found[name] += find_jpeg_damage(damaged) is not None
    for name, count in silent.items():
        print(f"{name:<14}{found[name]:>6} of {count} called damaged")
    share = found["half zeroed"] / max(silent["half zeroed"], 1)
    print(json.dumps({"name": "jpeg_damage", "ratio": share, "low": share, "high": share, "unit": "share found"}))


def damages(data: bytes, *, rng: np.random.Generator) -> dict[str, bytes]:
    """Return damaged copies of a JPEG by the kind of damage, which lies behind its first start of scan."""
    start, end = data.index(b"\xff\xda") + 14, len(data) - 2
    half, hole, flipped = bytearray(data), bytearray(data), bytearray(data)
    half[(start + end) // 2 : end] = bytes(end - (start + end) // 2)
    at = int(rng.integers(start, max(end - HOLE_BYTES, start + 1)))
    hole[at : min(at + HOLE_BYTES, end)] = bytes(min(HOLE_BYTES, end - at))
    flipped[int(rng.integers(start, end))] ^= 1 << int(rng.integers(8))
    return {"half zeroed": bytes(half), "hole": bytes(hole), "flipped bit": bytes(flipped)}


def differs(damaged: bytes, data: bytes) -> bool:
    """Return whether a damaged file decodes without an error, and to other pixels."""
    try:
        return not np.array_equal(imagecodecs.jpeg8_decode(damaged), imagecodecs.jpeg8_decode(data))
    except imagecodecs.Jpeg8Error:
        return False


if __name__ == "__main__":
    main()
