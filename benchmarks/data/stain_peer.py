"""Run the task of `stain.py` with TIAToolbox, in a virtual environment in which it is installed.

    PYTHON benchmarks/data/stain_peer.py TILES.npy SLOW

Each line on standard input names a method. For each line, the script normalizes all tiles (N, side, side, 3) once to
the colors of the first (for Vahadane only SLOW tiles), on one thread, and prints the processor seconds per tile. It is
called by `stain.py --tiatoolbox PYTHON`.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import sys
import time

import cv2
import numpy as np
from tiatoolbox.tools.stainnorm import get_normalizer

if __name__ == "__main__":
    cv2.setNumThreads(1)
    tiles, slow = np.load(sys.argv[1]), int(sys.argv[2])
    normalizers = {}
    for line in sys.stdin:
        method = line.strip()
        selected = tiles[:slow] if method == "vahadane" else tiles
        if method not in normalizers:
            normalizers[method] = get_normalizer(method)
            normalizers[method].fit(tiles[0])
            normalizers[method].transform(tiles[0])
        begin = time.process_time()
        for tile in selected:
            normalizers[method].transform(tile)
        print("seconds", (time.process_time() - begin) / len(selected), flush=True)
