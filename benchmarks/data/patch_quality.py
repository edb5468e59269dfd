"""Measure the effect of the quality control of `patches` on real tissue, and on the same tissue with added flaws.

Needs a folder of subfolders of tiles (PNG or JPEG), which are cropped to 256 px. For each subfolder, the script prints
the number of unmodified tiles that each flaw rejects; the share rejected after a Gaussian blur of 2, 3 and 4 microns
(followed by noise and JPEG compression, as in a scanner); and the share rejected with a stroke of each ink over a fifth
of the tile. Last, it prints the time per region of 512 px. It takes about two minutes on one core; `--quick` uses few
tiles. The last line is JSON.

    .venv/bin/python benchmarks/data/patch_quality.py FOLDER [--mpp osteosarcoma_10x=1] [--quick]
"""

import argparse
import json
import time
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from histosynth.config import PatchSettings
from histosynth.patches.quality import FLAWS, find_flaw, sample_lattice, sharpness

INKS = {"green": (1.3, 0.35, 0.9), "blue": (1.6, 0.8, 0.15), "red": (0.1, 1.3, 1.5), "black": (1.8, 1.8, 1.7)}
SIDE_PX = 256


def read_tiles(folder: Path) -> list[NDArray[np.uint8]]:
    tiles = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".png", ".jpg", ".jpeg"}):
        if "mask" in path.parent.name:
            continue
        image = np.asarray(Image.open(path).convert("RGB"))
        side = min(SIDE_PX, *image.shape[:2])
        for y in range(0, image.shape[0] - side + 1, side):
            tiles += [image[y : y + side, x : x + side] for x in range(0, image.shape[1] - side + 1, side)]
    return tiles


def blurred(tile: NDArray[np.uint8], sigma_px: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    soft = ndimage.gaussian_filter(tile.astype(np.float32), (sigma_px, sigma_px, 0)) + rng.normal(0, 0.7, tile.shape)
    buffer = BytesIO()
    Image.fromarray(np.clip(soft, 0, 255).astype(np.uint8)).save(buffer, format="JPEG", quality=85)
    return np.asarray(Image.open(buffer))


def inked(tile: NDArray[np.uint8], density: tuple[float, float, float]) -> NDArray[np.uint8]:
    stroked = tile.copy()
    stroke = stroked[:, : len(tile) // 5]
    stroke[:] = (stroke * np.exp(-np.array(density))).astype(np.uint8)
    return stroked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--mpp", action="append", default=[], metavar="NAME=MICRONS", help="of a subfolder; default: 0.5"
    )
    parser.add_argument("--max-tiles", type=int, default=240, help="tiles per subfolder")
    parser.add_argument("--quick", action="store_true", help="12 tiles per subfolder")
    arguments = parser.parse_args()
    scales = dict(text.split("=") for text in arguments.mpp)
    settings, rng = PatchSettings(), np.random.default_rng(0)
    intact: list[NDArray[np.uint8]] = []
    limit, result = 12 if arguments.quick else arguments.max_tiles, dict[str, Any]()
    # Unmodified tiles of each subfolder.
    for folder in sorted(path for path in arguments.folder.iterdir() if path.is_dir()):
        mpp, tiles = float(scales.get(folder.name, 0.5)), read_tiles(folder)
        tiles = tiles[:: max(1, -(-len(tiles) // limit))]
        if not tiles:
            continue
        flaws = Counter(find_flaw(tile, mpp=mpp, settings=settings) for tile in tiles)
        rejected = {name: flaws[name] for name in FLAWS if flaws[name]}
        intact += [tile for tile in tiles if find_flaw(tile, mpp=mpp, settings=settings) is None]
        sharp = np.percentile([sharpness(sample_lattice(tile, mpp=mpp)) for tile in tiles], [0, 5, 50]).round(3)
        print(
            f"{folder.name}: {len(tiles)} tiles at {mpp:g} um/px; sharpness, minimum, 5th percentile, median: {sharp}"
        )
        print("  rejected without change:", rejected or "none")
        facts = {"tiles": len(tiles), "mpp": mpp, "sharpness": sharp.tolist(), "rejected": rejected}
        # The same tiles blurred, then inked.
        for um in (2, 3, 4):
            hits = sum(
                find_flaw(blurred(tile, um / mpp, rng), mpp=mpp, settings=settings) is not None for tile in tiles
            )
            facts[f"blurred by {um} um"] = hits / len(tiles)
            print(f"  rejected when blurred by {um} um: {hits / len(tiles):.1%}")
        for ink, density in INKS.items():
            hits = sum(find_flaw(inked(tile, density), mpp=mpp, settings=settings) is not None for tile in tiles)
            facts[f"{ink} ink"] = hits / len(tiles)
            print(f"  rejected with {ink} ink: {hits / len(tiles):.1%}")
        result[folder.name] = facts
    # Time per region.
    region = np.tile(intact[-1], (3, 3, 1))[:512, :512]
    start = time.perf_counter()
    for _ in range(200):
        find_flaw(region, mpp=0.25, settings=settings)
    region_ms = (time.perf_counter() - start) / 200 * 1000
    print(f"per region of 512 px: {region_ms:.2f} ms")
    print(json.dumps({"name": "patch_quality", "folders": result, "region_ms": region_ms}))


if __name__ == "__main__":
    main()
