"""How much patches from the best level differ from patches of the full resolution.

    python benchmarks/data/base_or_level.py SLIDE... [--region-px 512] [--quick]

For each slide, the regions of a plain grid (512 px, or what is given, to 128 px) are read both ways. Printed: PSNR over
all patches, mean absolute difference and mean shift in gray levels, standard deviation of a Laplacian (fine detail) of
each, and processor time a patch. Where no level lies between the full resolution and the patch, there is no difference.
It takes seconds; `--quick` reads few regions of each slide. The last line is JSON.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from histosynth.patches.region import read_region
from histosynth.slides.open import open_slide
from histosynth.slides.types import Box

SIDE_PX = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("slides", nargs="+", type=Path)
    parser.add_argument("--region-px", type=int, default=512)
    parser.add_argument("--quick", action="store_true", help="16 regions of each slide")
    given = parser.parse_args()
    found = {path.stem: compare(path, given.region_px, quick=given.quick) for path in given.slides}
    print(json.dumps({"name": "base_or_level", "region_px": given.region_px, "slides": found}))


def compare(path: Path, side: int, *, quick: bool) -> dict[str, Any]:
    """Print the figures of a slide, and return them."""
    with open_slide(path) as slide:
        xs, ys = range(0, slide.width_px - side + 1, side), range(0, slide.height_px - side + 1, side)
        boxes = [Box(x=x, y=y, width=side, height=side) for y in ys for x in xs]
        boxes = boxes[:: -(-len(boxes) // 16)] if quick else boxes
        patches, times = {}, {}
        for source in ("base", "best_level"):
            begin = time.process_time()
            patches[source] = np.stack(
                [read_region(slide, b, side_px=SIDE_PX, source=source).scaled(SIDE_PX) for b in boxes]
            ).astype(float)
            times[source] = 1e3 * (time.process_time() - begin) / len(boxes)
        levels = [level.downsample for level in slide.levels]
    error = patches["best_level"] - patches["base"]
    told = ", ".join(f"{level:g}" for level in levels)
    print(f"{path.stem}: levels {told}, {side} to {SIDE_PX} px, {len(boxes)} patches: ", end="")
    facts = {"levels": levels, "patches": len(boxes), "mean_absolute_difference": np.abs(error).mean()}
    if not error.any():
        print("no difference")
        return facts
    psnr = 10 * np.log10(255**2 / np.mean(error**2))
    detail = {source: ndimage.laplace(stack.mean(3), axes=(1, 2)).std() for source, stack in patches.items()}
    print(
        f"PSNR {psnr:.1f} dB, mean absolute difference {np.abs(error).mean():.2f}, shift {error.mean():+.2f}, "
        f"detail {detail['base']:.1f} to {detail['best_level']:.1f}, "
        f"{times['base']:.1f} to {times['best_level']:.1f} ms"
    )
    return {**facts, "psnr_db": psnr, "shift": error.mean(), "detail": detail, "ms": times}


if __name__ == "__main__":
    main()
