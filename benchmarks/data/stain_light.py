"""Count the real tiles that stain normalization leaves raw under colored light, with and without a fallback.

Needs a folder of folders with `images/` (tiles of real tissue; osteosarcoma is left out, half of which is bone). Every
third tile, each as a slide, is multiplied by a color of light and fitted by Macenko's method, alone and with Reinhard's
as its fallback.

It takes a minute on one core; `--quick` uses every thirtieth tile. `ratio` is the share left raw with the fallback,
relative to that without, over all colors of light.

    .venv/bin/python benchmarks/data/stain_light.py DATA [--quick]
"""

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histosynth.normalization.staining import build_normalization, estimate_fit

LIGHTS = {
    "white": (1.0, 1.0, 1.0),
    "pale yellow": (0.95, 0.95, 0.85),
    "light yellow": (0.9, 0.9, 0.8),
    "yellow": (0.85, 0.85, 0.7),
    "strong yellow": (0.9, 0.85, 0.65),
    "magenta": (1.0, 0.8, 0.95),
    "pink": (0.8, 0.7, 0.75),
    "blue": (0.75, 0.8, 0.9),
}
SIDE_PX = 256


def main() -> None:
    """Print the counts, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    files = [file for file in sorted(given.data.glob("*/images/*")) if "osteosarcoma" not in file.parts[-3]]
    tiles = [tile(file) for file in files[:: 30 if given.quick else 3]]
    methods = {name: build_normalization("macenko", fallback=name) for name in ("", "reinhard")}
    raw = dict.fromkeys(methods, 0)
    print(f"{'light':<15}{'raw':>6}{'with fallback':>15}  of {len(tiles)} tiles")
    for light, color in LIGHTS.items():
        lit = [(image * np.array(color)).astype(np.uint8).reshape(-1, 3) for image in tiles]
        counts = {name: sum(estimate_fit(p, method).fit is None for p in lit) for name, method in methods.items()}
        raw = {name: raw[name] + counts[name] for name in raw}
        print(f"{light:<15}{counts['']:>6}{counts['reinhard']:>15}")
    ratio = raw["reinhard"] / max(raw[""], 1)
    print(json.dumps({"name": "stain_light", "ratio": ratio, "low": ratio, "high": ratio, "unit": "of those left raw"}))


def tile(file: Path) -> NDArray[np.uint8]:
    """Return an image, subsampled to about 256 px."""
    with Image.open(file) as opened:
        image = np.asarray(opened.convert("RGB"))
    step = max(1, min(image.shape[:2]) // SIDE_PX)
    return image[::step, ::step]


if __name__ == "__main__":
    main()
