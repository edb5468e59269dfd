"""Run the task of `slide_reading.py` with TIAToolbox, in a virtual environment in which it is installed.

    PYTHON benchmarks/data/slide_reading_peer.py SLIDE REGIONS

The sliding-window extractor reads REGIONS regions of 512 x 512 px at 0.25 um/px; Pillow scales each to 128 px and saves
it as PNG. The script prints the processor seconds and the number of patches as JSON. It is called by
`slide_reading.py --tiatoolbox PYTHON`.
"""

import itertools
import json
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from tiatoolbox.tools.patchextraction import get_patch_extractor

if __name__ == "__main__":
    slide, regions = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        begin = time.process_time()
        patches = get_patch_extractor(
            "slidingwindow", input_img=slide, patch_size=(512, 512), resolution=0.25, units="mpp", within_bound=True
        )
        for number, patch in enumerate(itertools.islice(patches, int(regions))):
            Image.fromarray(patch).resize((128, 128), Image.Resampling.BOX).save(Path(folder) / f"{number}.png")
        print(json.dumps({"seconds": time.process_time() - begin, "patches": number + 1}))
