"""The work of `slide_reading.py` by another library, run by the Python of a venv in which that is installed.

    PYTHON benchmarks/slide_reading_peer.py histolab|tiatoolbox SLIDE REGIONS

Cuts REGIONS regions of 512 x 512 px at full resolution and writes each as PNG: histolab by its RandomTiler with its
tissue check, at 512 px since it does not scale; TIAToolbox by its sliding-window extractor, scaled to 128 px by Pillow.
Prints the processor seconds and the number of patches written, as JSON. `slide_reading.py --peer NAME=PYTHON` calls it.
"""

import itertools
import json
import sys
import tempfile
import time
from pathlib import Path


def histolab(slide: str, regions: int, out: Path) -> float:
    from histolab.slide import Slide
    from histolab.tiler import RandomTiler

    begin = time.process_time()
    opened = Slide(slide, processed_path=str(out))
    tiler = RandomTiler(tile_size=(512, 512), n_tiles=regions, level=0, seed=0, check_tissue=True, suffix=".png")
    tiler.extract(opened)
    return time.process_time() - begin


def tiatoolbox(slide: str, regions: int, out: Path) -> float:
    from PIL import Image
    from tiatoolbox.tools.patchextraction import get_patch_extractor

    begin = time.process_time()
    patches = get_patch_extractor(
        "slidingwindow", input_img=slide, patch_size=(512, 512), resolution=0.25, units="mpp", within_bound=True
    )
    for number, patch in enumerate(itertools.islice(patches, regions)):
        Image.fromarray(patch).resize((128, 128), Image.Resampling.BOX).save(out / f"{number}.png")
    return time.process_time() - begin


if __name__ == "__main__":
    name, slide, regions = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        seconds = {"histolab": histolab, "tiatoolbox": tiatoolbox}[name](slide, int(regions), Path(folder))
        print(json.dumps({"seconds": seconds, "patches": len(list(Path(folder).rglob("*.png")))}))
