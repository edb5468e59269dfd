"""How well a program tells real from synthetic pictures of a reader study by their pixels, before and after blinding.

Both sides are tissue of the osteosarcoma tiles (halved, which removes their own JPEG grid), so no program can tell them
apart by content: a perfect generator. Only their history differs.

- `grid`: both were JPEG-compressed (quality 80); real patches start on the grid, synthetic ones elsewhere.
- `png`: only the real patches were JPEG-compressed.
- `blur`: as `png`, and the synthetic patches are blurred by half a pixel, with noise of one gray level: a model that
  does not reproduce the finest texture.

Real and synthetic patches alternate within each tile. The program is that of `histosynth study create`, cross-validated
by the case that a tile is of.

    .venv/bin/python benchmarks/study/study_pixels.py --data ../shared/data/osteosarcoma_10x [--quick]

The last line is JSON: the area under the ROC curve by history and blinding.
"""

import argparse
import json
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from histosynth.store.png import decode_png
from histosynth.study.design.pictures import blinded_png
from histosynth.study.design.pixel_check import Side, pixel_auc

Picture = NDArray[np.uint8]
PX, STEP, QUALITY = 96, 104, 80
HISTORIES = ("grid", "png", "blur")
BLINDINGS = {
    "none": (False, 0), "JPEG 80": (False, 80), "JPEG 50": (False, 50), "crop": (True, 0), "crop, JPEG 90": (True, 90),
    "crop, JPEG 80": (True, 80), "crop, JPEG 70": (True, 70), "crop, JPEG 50": (True, 50),
}  # fmt: skip
"""Random crop, and JPEG quality. `crop, JPEG 80` is the default of `study create`, `JPEG 80` an older option."""


def main() -> None:
    """Measure every history with every blinding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the osteosarcoma tiles in `images`")
    parser.add_argument("--quick", action="store_true", help="few tiles: only shows that the script runs")
    given = parser.parse_args()
    paths = sorted((given.data / "images").iterdir())
    tiles = [(case_of(path), half_size(path)) for path in (paths[::12] if given.quick else paths)]
    results: dict[str, dict[str, float]] = {}
    for history in HISTORIES:
        real, fake = sides(tiles, history)
        results[history] = {}
        for name, (crop, quality) in BLINDINGS.items():
            blind = blinding(crop=crop, quality=quality)
            blinded = (Side(pictures=[*map(blind, side.pictures)], units=side.units) for side in (real, fake))
            result = pixel_auc(*blinded, rng=np.random.default_rng(0))
            assert result is not None
            results[history][name] = round(result.value, 3)
            print(f"{history:6}{name:15}{result.value:6.3f}  ({result.low:.3f} to {result.high:.3f})  {result.note}")
    print(json.dumps({"name": "study_pixels", "auc": results}))


def case_of(path: Path) -> str:
    """Return the case in the name of a tile."""
    result = re.search(r"Case-\d+", path.name)
    return result[0] if result else path.name


def half_size(path: Path) -> Picture:
    """Return a tile at half its size, without the grid of its file."""
    with Image.open(path) as tile:
        return np.asarray(tile.convert("RGB").resize((tile.width // 2, tile.height // 2), Image.Resampling.LANCZOS))


def sides(tiles: list[tuple[str, Picture]], history: str) -> tuple[Side, Side]:
    """Return real and synthetic patches with their cases."""
    rng = np.random.default_rng(0)
    pictures: tuple[list[Picture], list[Picture]] = ([], [])
    cases: tuple[list[str], list[str]] = ([], [])
    for case, tile in tiles:
        jpeg = compressed(tile)
        corners = [
            (y, x) for y in range(0, len(tile) - STEP + 1, STEP) for x in range(0, tile.shape[1] - STEP + 1, STEP)
        ]
        for number, (y, x) in enumerate(corners):
            side = number % 2
            cases[side].append(case)
            if side == 0:
                picture = jpeg[y : y + PX, x : x + PX]
            elif history == "grid":
                picture = jpeg[y + 3 : y + 3 + PX, x + 5 : x + 5 + PX]
            elif history == "png":
                picture = tile[y : y + PX, x : x + PX]
            else:
                picture = smoothed(tile[y : y + PX, x : x + PX], rng)
            pictures[side].append(picture)
    return Side(pictures=pictures[0], units=cases[0]), Side(pictures=pictures[1], units=cases[1])


def compressed(image: Picture) -> Picture:
    """Return an image after JPEG."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=QUALITY)
    with Image.open(buffer) as jpeg:
        return np.asarray(jpeg)


def smoothed(patch: Picture, rng: np.random.Generator) -> Picture:
    """Return a patch blurred by half a pixel, with noise of one gray level."""
    values = gaussian_filter(patch.astype(float), (0.5, 0.5, 0)) + rng.normal(0, 1, patch.shape)
    return np.asarray(values.round().clip(0, 255), np.uint8)


def blinding(*, crop: bool, quality: int) -> Callable[[Picture], Picture]:
    """Return the blinding of pictures."""
    rng = np.random.default_rng(0)
    return lambda image: decode_png(blinded_png(image, crop=rng if crop else None, jpeg_history=quality))


if __name__ == "__main__":
    main()
