"""Measure the speed of stain normalization against torchstain on one thread, and the error of fits on fewer pixels.

    python benchmarks/data/stain.py [--data DIR...] [--quick] [--tiatoolbox PYTHON]

Each tile is normalized separately, as in the other packages: estimate, then apply. The rows are Macenko, Reinhard and
(if registered) Vahadane, with a fit on all tissue pixels, with a fit on a sixteenth of them (every fourth pixel of
every fourth row), and with a known fit, which is the case of the patches of a slide; the numpy and torch backends of
torchstain (`pip install 'histosynth[bench]'`), without its stain images; and with `--tiatoolbox` TIAToolbox, in a
virtual environment in which it is installed (`stain_peer.py`). Tiles are in memory, as tensors for backends that need
them. Repeats alternate between the rows; time is processor time, so that other work on the machine counts little.

DIR holds images, or a folder `images`; without it phantoms are drawn. The centers of about 24 images give tiles of 512
px, the centers of their quarters tiles of 128 px. It takes two minutes, with `--quick` (fewer tiles and repeats) less
than one, with TIAToolbox twice as long. The last line is JSON: `ratio` is the time of the faster torchstain backend
for Macenko over that of ours with a fit on a sixteenth of the pixels, for 512 px; `low` and `high` are the smallest and
largest of the repeats; `methods` has the same for each method of torchstain. `error_mean` and `error_max` are the
differences, of 255, from fits on all pixels.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import json
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchstain.base.normalizers.reinhard import ReinhardNormalizer
from torchstain.numpy.normalizers.macenko import NumpyMacenkoNormalizer
from torchstain.torch.normalizers.macenko import TorchMacenkoNormalizer

from histosynth.slides.phantom.drawing import GENOTYPES, draw_phantom
from histosynth.stain import StainError, StainNormalizer, normalizers, tissue_pixels

SIDES = (512, 128)
METHODS = ("macenko", "reinhard", "vahadane")
SIXTEENTH = "1/16 of the pixels"
SLOW = 2  # number of tiles for TIAToolbox's Vahadane, which takes seconds per tile

Row = tuple[str, str]  # method, variant


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, nargs="+", default=[], metavar="DIR", help="folders of real tiles")
    parser.add_argument("--quick", action="store_true", help="fewer tiles and repeats")
    parser.add_argument("--tiatoolbox", metavar="PYTHON", help="also measure TIAToolbox, with this Python")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    # Tiles.
    count, repeats = (8, 3) if arguments.quick else (24, 7)
    images = real_tiles(arguments.data, count) if arguments.data else phantom_tiles(count)
    names = ", ".join(folder.name for folder in arguments.data) or "phantoms"
    print(
        f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}, torch {torch.__version__}"
    )
    print(f"{len(images)} images of {names}, {repeats} repeats; load of the machine {os.getloadavg()[0]:.1f}")
    if "vahadane" not in normalizers:
        print("no normalizer 'vahadane'; its rows are omitted")
    # Rates of all rows, by size of the tiles.
    for side in reversed(SIDES):  # the size of the headline last
        tiles = images if side == SIDES[0] else [piece for image in images for piece in quarters(image, side)]
        usable = [tile for tile in tiles if has_stains(tile)]
        times = measure(usable, repeats=repeats, python=arguments.tiatoolbox)
        print(f"\n{len(usable)} tiles of {side} px ({len(tiles) - len(usable)} omitted: no stains in so few pixels)")
        print("tiles per second, median of the repeats (minimum to maximum):")
        show(times)
    # Errors, and the summary.
    error = subsampling_error(usable)
    agree_with_torchstain(usable)
    methods = {method: against_torchstain(times, method) for method in METHODS if torchstain_rows(times, method)}
    result = {
        "name": "stain",
        **methods["macenko"],
        "unit": f"Macenko, fit on {SIXTEENTH}, over torchstain's Macenko: tiles of 512 px per second, processor time",
        "methods": methods,
        **error,
        "tiles": len(usable),
        "repeats": repeats,
    }
    print(json.dumps(result))


def real_tiles(folders: list[Path], count: int) -> list[np.ndarray]:
    """Return the centers of images that are evenly selected from the folders."""
    tiles = []
    for folder in folders:
        within = folder / "images" if (folder / "images").is_dir() else folder
        paths = sorted(p for p in within.iterdir() if p.suffix.lower() in {".png", ".jpg", ".jpeg", ".tif"})
        share = -(-count // len(folders))
        for path in paths[:: max(1, len(paths) // share)][:share]:
            tiles.append(center(np.asarray(Image.open(path).convert("RGB")), SIDES[0]))
    if not tiles or min(min(tile.shape[:2]) for tile in tiles) < SIDES[0]:
        raise SystemExit(f"--data: images of at least {SIDES[0]} px are needed")
    return tiles


def phantom_tiles(count: int) -> list[np.ndarray]:
    phantoms = []
    for seed in range(-(-count // 4)):
        rng = np.random.default_rng(seed)
        phantoms.append(
            draw_phantom(GENOTYPES[seed % len(GENOTYPES)], width_px=2048, height_px=2048, mpp=0.25, rng=rng)
        )
    tiles = [piece for phantom in phantoms for piece in quarters(center(phantom.image, 1024), SIDES[0])]
    return tiles[:count]


def quarters(image: np.ndarray, side: int) -> list[np.ndarray]:
    """Return the center of each quarter."""
    half = len(image) // 2
    return [center(image[y : y + half, x : x + half], side) for y in (0, half) for x in (0, half)]


def center(image: np.ndarray, side: int) -> np.ndarray:
    y, x = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return np.ascontiguousarray(image[max(y, 0) :, max(x, 0) :][:side, :side])


def has_stains(tile: np.ndarray) -> bool:
    """Return True if all rows can process a tile: torchstain raises an arbitrary error where we give a reason."""
    try:
        for method in METHODS:
            if method in normalizers:
                normalizers[method].estimate(sampled_pixels(tile))
    except StainError:
        return False
    return True


def sampled_pixels(tile: np.ndarray) -> np.ndarray:
    return tissue_pixels(np.ascontiguousarray(tile[::4, ::4]).reshape(-1, 3))


def rows(tiles: list[np.ndarray]) -> dict[Row, Callable[[], object]]:
    """Return the functions to be timed; each processes all tiles once."""
    work: dict[Row, Callable[[], object]] = {}

    def add(method: str, variant: str, one: Callable, inputs: list) -> None:
        work[method, variant] = lambda: [one(x) for x in inputs]

    for method in METHODS:
        if method in normalizers:
            n: StainNormalizer = normalizers[method]
            known = n.estimate(tissue_pixels(tiles[0].reshape(-1, 3)))
            add(method, "all pixels", lambda x, n=n: n.apply(x, n.estimate(tissue_pixels(x.reshape(-1, 3)))), tiles)
            add(method, SIXTEENTH, lambda x, n=n: n.apply(x, n.estimate(sampled_pixels(x))), tiles)
            add(method, "known fit", lambda x, n=n, known=known: n.apply(x, known), tiles)
    tensors = [torch.tensor(tile).permute(2, 0, 1).contiguous() for tile in tiles]
    for backend, macenko, inputs in (
        ("torchstain, numpy", NumpyMacenkoNormalizer(), tiles),
        ("torchstain, torch", TorchMacenkoNormalizer(), tensors),
    ):
        add("macenko", backend, lambda x, n=macenko: n.normalize(x, stains=False), inputs)
        reinhard = ReinhardNormalizer(backend=backend.split()[1])
        reinhard.fit(inputs[0])
        add("reinhard", backend, reinhard.normalize, inputs)
    return work


def measure(tiles: list[np.ndarray], *, repeats: int, python: str | None) -> dict[Row, list[float]]:
    """Return processor seconds per tile, one value per repeat; repeats alternate between the rows."""
    work = rows(tiles)
    times: dict[Row, list[float]] = {row: [] for row in work}
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(python, tiles, Path(folder)) if python else None
        for repeat in range(-1, repeats):  # one for warming up
            for row, process_tiles in work.items():
                begin = time.process_time()
                process_tiles()
                if repeat >= 0:
                    times[row].append((time.process_time() - begin) / len(tiles))
            for method in METHODS if peer and repeat >= 0 else ():
                times.setdefault((method, "TIAToolbox"), []).append(peer.seconds(method))
        if peer:
            peer.process.communicate()
    return times


class Peer:
    """TIAToolbox in a separate process that runs one repeat on request."""

    def __init__(self, python: str, tiles: list[np.ndarray], folder: Path) -> None:
        np.save(folder / "tiles.npy", np.stack(tiles))
        words = [python, Path(__file__).with_name("stain_peer.py"), folder / "tiles.npy", str(SLOW)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(words, text=True, **pipes)

    def seconds(self, method: str) -> float:
        """Run one repeat and return the processor seconds per tile."""
        print(method, file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            if line.startswith("seconds "):
                return float(line.split()[1])
        raise SystemExit(f"TIAToolbox ended; try: {' '.join(map(str, self.process.args))}")


def show(times: dict[Row, list[float]]) -> None:
    for method in METHODS:
        reference = times.get((method, "all pixels"))
        for row, values in sorted(((r, t) for r, t in times.items() if r[0] == method), key=lambda x: x[0][1]):
            text = f"{1 / statistics.median(values):8.1f} ({1 / max(values):.1f} to {1 / min(values):.1f})"
            ratios = [peer / ours for peer, ours in zip(values, reference or [], strict=False)]
            if row[1].startswith(("torchstain", "TIA")) and ratios:
                low, high = min(ratios), max(ratios)
                text += f"   ours, all pixels: {statistics.median(ratios):.1f} times as fast ({low:.1f} to {high:.1f})"
            print(f"  {method:<9} {row[1]:<19} {text}")


def torchstain_rows(times: dict[Row, list[float]], method: str) -> list[Row]:
    """Return the rows of torchstain's backends for a method; it has no Vahadane."""
    return [row for row in times if row[0] == method and row[1].startswith("torchstain")]


def against_torchstain(times: dict[Row, list[float]], method: str) -> dict[str, object]:
    """Compare our fit on a sixteenth of the pixels with the faster backend of torchstain for the same method."""
    peer = min(torchstain_rows(times, method), key=lambda row: statistics.median(times[row]))
    ours, theirs = times[method, SIXTEENTH], times[peer]
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    return {
        "ratio": round(statistics.median(ratios), 2),
        "low": round(min(ratios), 2),
        "high": round(max(ratios), 2),
        "tiles_per_s": round(1 / statistics.median(ours), 1),
        "peer": peer[1],
        "peer_per_s": round(1 / statistics.median(theirs), 1),
    }


def subsampling_error(tiles: list[np.ndarray]) -> dict[str, float]:
    """Compare Macenko with a fit on a sixteenth of the pixels and on all pixels."""
    macenko, differences, angles = normalizers["macenko"], [], []
    for tile in tiles:
        fits = [macenko.estimate(pixels) for pixels in (tissue_pixels(tile.reshape(-1, 3)), sampled_pixels(tile))]
        exact, sampled = (macenko.apply(tile, fit).astype(int) for fit in fits)
        differences.append(np.abs(sampled - exact))
        angles.append(angles_deg(*(np.array(fit.stains) for fit in fits)))
    mean, largest = float(np.mean(differences)), int(np.max(differences))
    print(
        f"\nfit on {SIXTEENTH} against all, {len(tiles)} tiles: images differ by {mean:.2f} of 255 on average "
        f"(worst tile {max(d.mean() for d in differences):.2f}), at most {largest}; stain vectors by "
        f"{np.median(angles):.2f} degrees, at most {np.max(angles):.2f}"
    )
    return {"error_mean": round(mean, 3), "error_max": largest, "angle_deg_max": round(float(np.max(angles)), 2)}


def agree_with_torchstain(tiles: list[np.ndarray]) -> None:
    """Compare with torchstain, both with fits on all pixels including glass, as torchstain uses them."""
    macenko, differences, angles = normalizers["macenko"], [], []
    for tile in tiles:
        peer = NumpyMacenkoNormalizer()
        theirs, _, _ = peer.normalize(tile, stains=False)
        peer.fit(tile)
        fit = macenko.estimate(tile.reshape(-1, 3))
        differences.append(np.abs(macenko.apply(tile, fit).astype(int) - theirs).mean())
        angles.append(angles_deg(np.array(fit.stains), peer.HERef.T))
    print(
        f"agreement with torchstain: image {np.median(differences):.2f} of 255 (worst tile {max(differences):.2f}; it "
        f"truncates, we round), stain vectors within {np.max(angles):.3f} degrees"
    )


def angles_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the angles between the rows of two arrays of unit vectors."""
    return np.degrees(2 * np.arcsin(np.linalg.norm(a - b, axis=1) / 2))


if __name__ == "__main__":
    main()
