"""Measure the speed of `histosynth patches` against a plain OpenSlide loop over the same regions.

    python benchmarks/data/slide_reading.py [--out DIR] [--quick] [--tiatoolbox PYTHON]

On one core, in one process, two programs process the same N regions of 512 x 512 px:

- `extract_slide`: tissue mask, read, scale, Macenko, PNG, Parquet;
- the usual first attempt, a loop over `read_region(...).convert("RGB").resize((128, 128), BOX)`, which finds no tissue,
  normalizes nothing and writes nothing.

Both find the file in the disk cache; their repeats alternate. Time is processor time, so that other work on the machine
counts little. Afterwards the readers are compared, on regions of the grid and on random ones.

The slide is drawn once and kept in DIR: the center of a phantom, 1024 x 1024 px, repeated to 20,480 x 20,480 px, in
JPEG tiles of 256 px (4:2:0, quality 90) at downsamples 1, 4 and 16. It takes two minutes, with `--quick` (fewer
regions) less than one. `--tiatoolbox` also measures TIAToolbox, with the Python of a virtual environment in which it is
installed (`slide_reading_peer.py`). The last line is JSON: `ratio` is the median time of the loop over that of
`extract_slide`; `low` and `high` are the smallest and largest of the repeats.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openslide
import tifffile
from PIL import Image

from histosynth.config import PatchSettings
from histosynth.normalization.staining import build_normalization
from histosynth.patches.extract_slide import extract_slide
from histosynth.patches.plan import plan
from histosynth.slides.open import open_slide
from histosynth.slides.phantom.drawing import GENOTYPES, draw_phantom
from histosynth.slides.types import Box
from histosynth.store.part import read_part

SIDE, FIELD, TILE = 20_480, 1_024, 256
MPP = 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "histosynth-slide-reading")
    parser.add_argument("--quick", action="store_true", help="fewer regions and repeats")
    parser.add_argument("--tiatoolbox", metavar="PYTHON", help="also measure TIAToolbox, with this Python")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core, so that threads help neither program
    regions, repeats = (200, 3) if arguments.quick else (800, 5)
    slide = write_slide(arguments.out)
    print(f"{platform.machine()}, Python {platform.python_version()}, OpenSlide {openslide.__library_version__}")
    print(
        f"{slide.name}: {SIDE} x {SIDE} px, {slide.stat().st_size / 1e6:.0f} MB; {regions} regions, {repeats} repeats"
    )

    # Patches and loop, alternating.
    times: dict[str, list[float]] = {"loop": [], "base": [], "best_level": []}
    with tempfile.TemporaryDirectory() as folder:
        jobs = {}
        for source in ("best_level", "base"):
            settings = PatchSettings(cap=regions, read=source)
            colors = build_normalization(settings.stain)
            jobs[source] = plan({"slide": slide}, out=Path(folder), settings=settings, staining=colors).jobs[0]
            extract_slide(jobs[source])
        boxes = [Box(x=p.x, y=p.y, width=p.extent, height=p.extent) for p in read_part(jobs["base"].part)]
        for _ in range(repeats):
            times["loop"].append(seconds(lambda: plain_loop(slide, boxes)))
            for source, job in jobs.items():
                times[source].append(seconds(lambda job=job: extract_slide(job)))
    ratios = {s: [a / b for a, b in zip(times["loop"], times[s], strict=True)] for s in jobs}
    show("plain OpenSlide loop", len(boxes), times["loop"])
    for source, values in ratios.items():
        show(f"extract_slide, read = {source}", len(boxes), times[source])
        print(f"  ratio {statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})")
    if arguments.tiatoolbox:
        show("TIAToolbox", len(boxes), [run_peer(arguments.tiatoolbox, slide, len(boxes)) for _ in range(3)])
    # Readers alone.
    rng = np.random.default_rng(0)
    scattered = [Box(x=int(x), y=int(y), width=512, height=512) for x, y in rng.integers(0, SIDE - 512, (100, 2))]
    for placement, regions_read in (("grid", boxes[:100]), ("random", scattered)):
        for reader in ("openslide", "tiff"):
            times_read = [seconds(lambda r=reader, b=regions_read: read_all(slide, b, reader=r)) for _ in range(3)]
            show(f"reader {reader}, {placement} regions", len(regions_read), times_read)
    result = {
        "name": "slide_reading",
        "ratio": round(statistics.median(ratios["base"]), 3),
        "low": round(min(ratios["base"]), 3),
        "high": round(max(ratios["base"]), 3),
        "unit": "patches per second of extract_slide over regions per second of a plain OpenSlide loop, processor time",
        "patches_per_s": round(len(boxes) / statistics.median(times["base"]), 1),
        "loop_per_s": round(len(boxes) / statistics.median(times["loop"]), 1),
        "regions": len(boxes),
        "repeats": repeats,
    }
    print(json.dumps(result))


def write_slide(folder: Path) -> Path:
    """Return the path of the slide, which is drawn if absent."""
    path = folder / f"phantom-{SIDE}.tif"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    # The center of a phantom.
    edge = FIELD // 2
    phantom = draw_phantom(GENOTYPES[0], width_px=2 * FIELD, height_px=2 * FIELD, mpp=MPP, rng=np.random.default_rng(0))
    field = phantom.image[edge:-edge, edge:-edge]
    # Its repetition, level by level.
    incomplete = path.with_suffix(".tmp")
    with tifffile.TiffWriter(incomplete, bigtiff=True) as tiff:
        for downsample in (1, 4, 16):
            small = np.asarray(Image.fromarray(field).reduce(downsample)) if downsample > 1 else field
            side, step = SIDE // downsample, min(TILE, len(small))
            across = range(0, side, TILE)

            def tiles(small=small, step=step, across=across):
                for y in across:
                    for x in across:
                        block = small[y % len(small) :][:step, x % len(small) :][:, :step]
                        yield np.tile(block, (TILE // step, TILE // step, 1))

            tiff.write(
                tiles(),
                shape=(side, side, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": 90},
                subsampling=(2, 2),
                resolution=(1e4 / (MPP * downsample),) * 2,
                resolutionunit="CENTIMETER",
                subfiletype=int(downsample > 1),
                metadata=None,
            )
    incomplete.rename(path)
    return path


def plain_loop(path: Path, boxes: list[Box]) -> None:
    with openslide.OpenSlide(path) as slide:
        for box in boxes:
            region = slide.read_region((box.x, box.y), 0, (box.width, box.height))
            np.asarray(region.convert("RGB").resize((128, 128), Image.Resampling.BOX))


def read_all(path: Path, boxes: list[Box], *, reader: str) -> None:
    with open_slide(path, reader=reader) as slide:
        for box in boxes:
            slide.read(box)


def run_peer(python: str, slide: Path, regions: int) -> float:
    """Return the processor seconds of TIAToolbox for this number of regions."""
    script = Path(__file__).with_name("slide_reading_peer.py")
    words = [python, script, slide, str(regions)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    result = json.loads(done.stdout.splitlines()[-1])
    return float(result["seconds"]) * regions / int(result["patches"])


def seconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def show(name: str, count: int, times: list[float]) -> None:
    low, high = count / max(times), count / min(times)
    print(f"{name:<36} {count / statistics.median(times):7.1f} per second ({low:.1f} to {high:.1f})")


if __name__ == "__main__":
    main()
