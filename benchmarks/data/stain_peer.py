"""The work of `stain.py` by TIAToolbox, run by the Python of a venv in which that is installed.

    PYTHON benchmarks/data/stain_peer.py TILES.npy SLOW

For each line on standard input, a method, it normalizes all tiles (N, side, side, 3) once, to the colors of the first
(of Vahadane only SLOW tiles), on one thread, and prints the processor seconds a tile. `stain.py --tiatoolbox PYTHON`
calls it.
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
        some = tiles[:slow] if method == "vahadane" else tiles
        if method not in normalizers:
            normalizers[method] = get_normalizer(method)
            normalizers[method].fit(tiles[0])
            normalizers[method].transform(tiles[0])
        begin = time.process_time()
        for tile in some:
            normalizers[method].transform(tile)
        print("seconds", (time.process_time() - begin) / len(some), flush=True)
