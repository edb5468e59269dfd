"""What the quality control of `patches` does to real tissue, and to the same tissue with flaws put into it.

Needs a folder of subfolders of tiles (PNG or JPEG). Tiles are cut to 256 px. Of each folder it prints how many tiles
each flaw rejects as they are, and what share it finds blurred after a Gaussian blur of 2, 3 and 4 microns (then noise
and JPEG, as a scanner would add them) and inked after a stroke of each ink over a fifth of the tile; last, the time
a region of 512 px takes. About two minutes on one core; `--quick` takes few tiles. The last line is JSON.

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


def tiles(folder: Path) -> list[NDArray[np.uint8]]:
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".png", ".jpg", ".jpeg"}):
        if "mask" in path.parent.name:
            continue
        image = np.asarray(Image.open(path).convert("RGB"))
        side = min(SIDE_PX, *image.shape[:2])
        for y in range(0, image.shape[0] - side + 1, side):
            found += [image[y : y + side, x : x + side] for x in range(0, image.shape[1] - side + 1, side)]
    return found


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
    parser.add_argument("--mpp", action="append", default=[], metavar="NAME=MICRONS", help="of a subfolder; 0.5 else")
    parser.add_argument("--most", type=int, default=240, help="tiles of a subfolder")
    parser.add_argument("--quick", action="store_true", help="12 tiles of a subfolder")
    given = parser.parse_args()
    scales = dict(text.split("=") for text in given.mpp)
    settings, rng = PatchSettings(), np.random.default_rng(0)
    sound: list[NDArray[np.uint8]] = []
    most, result = 12 if given.quick else given.most, dict[str, Any]()
    for folder in sorted(path for path in given.folder.iterdir() if path.is_dir()):
        mpp, found = float(scales.get(folder.name, 0.5)), tiles(folder)
        some = found[:: max(1, -(-len(found) // most))]
        if not some:
            continue
        flaws = Counter(find_flaw(tile, mpp=mpp, settings=settings) for tile in some)
        rejected = {name: flaws[name] for name in FLAWS if flaws[name]}
        sound += [tile for tile in some if find_flaw(tile, mpp=mpp, settings=settings) is None]
        sharp = np.percentile([sharpness(sample_lattice(tile, mpp=mpp)) for tile in some], [0, 5, 50]).round(3)
        print(f"{folder.name}: {len(some)} tiles at {mpp:g} um/px; sharpness least, 5 %, median: {sharp}")
        print("  rejected as they are:", rejected or "none")
        facts = {"tiles": len(some), "mpp": mpp, "sharpness": sharp.tolist(), "rejected": rejected}
        for um in (2, 3, 4):
            hit = sum(find_flaw(blurred(tile, um / mpp, rng), mpp=mpp, settings=settings) is not None for tile in some)
            facts[f"blurred by {um} um"] = hit / len(some)
            print(f"  rejected when blurred by {um} um: {hit / len(some):.1%}")
        for ink, density in INKS.items():
            hit = sum(find_flaw(inked(tile, density), mpp=mpp, settings=settings) is not None for tile in some)
            facts[f"{ink} ink"] = hit / len(some)
            print(f"  rejected under {ink} ink: {hit / len(some):.1%}")
        result[folder.name] = facts
    region = np.tile(sound[-1], (3, 3, 1))[:512, :512]
    start = time.perf_counter()
    for _ in range(200):
        find_flaw(region, mpp=0.25, settings=settings)
    region_ms = (time.perf_counter() - start) / 200 * 1000
    print(f"a region of 512 px: {region_ms:.2f} ms")
    print(json.dumps({"name": "patch_quality", "folders": result, "region_ms": region_ms}))


if __name__ == "__main__":
    main()
