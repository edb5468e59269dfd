"""How much patches from the best level differ from patches of the full resolution.

    python benchmarks/base_or_level.py SLIDE... [--region-px 512]

For each slide, the regions of a plain grid (512 px, or what is given, to 128 px) are read both ways. Printed: PSNR over
all patches, mean absolute difference and mean shift in gray levels, standard deviation of a Laplacian (fine detail) of
each, and processor time a patch. Where no level lies between the full resolution and the patch, there is no difference.
It takes seconds.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

from histosynth.patches.region import read_region
from histosynth.slides.reader import Box, open_slide

SIDE_PX = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("slides", nargs="+", type=Path)
    parser.add_argument("--region-px", type=int, default=512)
    arguments = parser.parse_args()
    for path in arguments.slides:
        print(compare(path, arguments.region_px))


def compare(path: Path, side: int) -> str:
    with open_slide(path) as slide:
        xs, ys = range(0, slide.width_px - side + 1, side), range(0, slide.height_px - side + 1, side)
        boxes = [Box(x=x, y=y, width=side, height=side) for y in ys for x in xs]
        patches, times = {}, {}
        for source in ("base", "best_level"):
            begin = time.process_time()
            patches[source] = np.stack(
                [read_region(slide, b, side_px=SIDE_PX, source=source).scaled(SIDE_PX) for b in boxes]
            ).astype(float)
            times[source] = 1e3 * (time.process_time() - begin) / len(boxes)
        levels = ", ".join(f"{level.downsample:g}" for level in slide.levels)
    error = patches["best_level"] - patches["base"]
    told = f"{path.stem}: levels {levels}, {side} to {SIDE_PX} px, {len(boxes)} patches: "
    if not error.any():
        return told + "no difference"
    psnr = 10 * np.log10(255**2 / np.mean(error**2))
    detail = {source: ndimage.laplace(stack.mean(3), axes=(1, 2)).std() for source, stack in patches.items()}
    return told + (
        f"PSNR {psnr:.1f} dB, mean absolute difference {np.abs(error).mean():.2f}, shift {error.mean():+.2f}, "
        f"detail {detail['base']:.1f} to {detail['best_level']:.1f}, "
        f"{times['base']:.1f} to {times['best_level']:.1f} ms"
    )


if __name__ == "__main__":
    main()
