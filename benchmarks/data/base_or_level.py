"""Compare patches read from the best level with patches read at full resolution.

    python benchmarks/data/base_or_level.py SLIDE... [--region-px 512] [--quick]

For each slide, the regions of a regular grid (512 px or `--region-px`, scaled to 128 px) are read with both methods.
The script prints PSNR over all patches, mean absolute difference and mean shift in gray levels, the standard deviation
of a Laplacian (fine detail) and the processor time per patch of both. If no level lies between the full resolution and
the patch, there is no difference. It takes seconds; `--quick` reads few regions per slide. The last line is JSON.
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
    parser.add_argument("--quick", action="store_true", help="16 regions per slide")
    arguments = parser.parse_args()
    slides = {path.stem: compare(path, arguments.region_px, quick=arguments.quick) for path in arguments.slides}
    print(json.dumps({"name": "base_or_level", "region_px": arguments.region_px, "slides": slides}))


def compare(path: Path, side: int, *, quick: bool) -> dict[str, Any]:
    """Print the results of a slide and return them."""
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
    downsamples = ", ".join(f"{level:g}" for level in levels)
    print(f"{path.stem}: downsamples {downsamples}, {side} to {SIDE_PX} px, {len(boxes)} patches: ", end="")
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
