"""Accuracy of the detection of nuclei: outlines drawn by people, and scikit-image's plain Otsu and watershed as peer.

Needs the ten glioma tiles of CPM-15 with nucleus masks: `DIR/labels.csv` (columns file, magnification), `DIR/images`
and `DIR/nuclei_masks`. The constants of `histosynth.metrics.morphology` were tuned on every other tile (01, 03, 05, 09,
11); the results are those of the others. Stains are fitted to each tile. Nuclei of less than 8 um² are excluded on all
sides.

F1 by IoU counts a nucleus as found if the overlap of the two outlines is at least half their union; F1 by center counts
it if the center of a detection is inside, one detection each. Area error is the median of |found - drawn| / drawn over
pairs by IoU. Tiles are scaled down by area averaging, masks are not: detected nuclei are compared at full size. Takes
about two minutes on one core; `--quick` takes half a minute (the scale of the paper preset, no phantoms).

    .venv/bin/python benchmarks/metrics/morphology.py --data ../shared/data/glioma_cpm15
"""

import argparse
import csv
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.color import rgb2hed
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

from histosynth.metrics.morphology import find_nuclei, fit_pooled_stains, measure_images, measure_nuclei
from histosynth.slides.phantom import GENOTYPES, draw_phantom

PAPER_MPP = 1.0  # 512 px at 0.25 um/px, scaled to 128 px
MIN_AREA_UM2 = 8.0
Labels = NDArray[np.int32]
Detector = Callable[[NDArray[np.uint8], float], Labels]


@dataclass(frozen=True)
class Tile:
    """A tile, and the outlines drawn on it, as labels."""

    name: str
    mpp: float
    image: NDArray[np.uint8]
    truth: Labels


@dataclass(frozen=True)
class Score:
    """Counts of one tile: pairs by IoU, drawn nuclei with the center of a detection, detections, drawn nuclei."""

    overlapping: int
    centered: int
    found: int
    drawn: int
    area_errors: list[float]


def ours(image: NDArray[np.uint8], mpp: float) -> Labels:
    return find_nuclei(image, mpp=mpp, fit=fit_pooled_stains([image])).labels


def plain(image: NDArray[np.uint8], mpp: float) -> Labels:
    """Apply Otsu's threshold to the hematoxylin of `rgb2hed`; watershed from distance peaks at least 3 um apart."""
    return otsu_watershed(rgb2hed(image)[..., 0], mpp)


def fitted(image: NDArray[np.uint8], mpp: float) -> Labels:
    """Apply the same to our hematoxylin: the effect of the fitted stains and the lattice of 0.5 um alone."""
    nuclei = find_nuclei(image, mpp=mpp, fit=fit_pooled_stains([image]))
    return otsu_watershed(nuclei.hematoxylin, nuclei.pitch_um)


def otsu_watershed(hematoxylin: NDArray[np.floating], mpp: float) -> Labels:
    mask = hematoxylin > threshold_otsu(hematoxylin)
    depth = ndimage.distance_transform_edt(mask)
    peaks = peak_local_max(depth, min_distance=max(1, round(3 / mpp)), labels=ndimage.label(mask)[0])
    markers = np.zeros(mask.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return watershed(-depth, markers, mask=mask)


DETECTORS: dict[str, Detector] = {
    "histosynth": ours,
    "otsu + watershed": plain,
    "the same, stains fitted": fitted,
}


def read(folder: Path) -> tuple[list[Tile], list[Tile]]:
    """Return the tiles that constants were tuned on, and the others."""
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    tiles = [
        Tile(
            name=row["file"],
            mpp={"20x": 0.5, "40x": 0.25}[row["magnification"]],
            image=np.asarray(Image.open(folder / "images" / row["file"]).convert("RGB")),
            truth=np.asarray(Image.open(folder / "nuclei_masks" / row["file"])).astype(np.int32),
        )
        for row in rows
    ]
    return tiles[::2], tiles[1::2]


def detect(tile: Tile, detector: Detector, mpp: float | None) -> Labels:
    """Detect nuclei in a tile scaled down to `mpp` (None: unscaled); return labels on the pixels of its mask."""
    image, scale = tile.image, tile.mpp
    if mpp is not None and mpp > scale:
        shape = [round(side * scale / mpp) for side in (image.shape[1], image.shape[0])]
        image, scale = np.asarray(Image.fromarray(image).resize(shape, Image.Resampling.BOX)), mpp
    labels = detector(image, scale)
    rows, columns = (np.arange(n) * m // n for n, m in zip(tile.truth.shape, labels.shape, strict=True))
    return labels[np.ix_(rows, columns)]


def score(detected: Labels, truth: Labels, mpp: float) -> Score:
    detected, truth = (without_small(labels, MIN_AREA_UM2 / mpp**2) for labels in (detected, truth))
    n, m = detected.max(initial=0), truth.max(initial=0)
    pairs_of_labels = detected.ravel().astype(np.int64) * (m + 1) + truth.ravel()
    both = np.bincount(pairs_of_labels, minlength=(n + 1) * (m + 1)).reshape(n + 1, m + 1)
    area, drawn = both.sum(axis=1)[1:], both.sum(axis=0)[1:]
    pairs = np.argwhere(
        both[1:, 1:] * 3 > area[:, None] + drawn[None]
    )  # IoU above one half: at most one pair per nucleus
    centers = np.rint(ndimage.center_of_mass(detected > 0, detected, np.arange(1, n + 1))).astype(int).reshape(-1, 2)
    hit = np.unique(truth[tuple(centers.T)])
    errors = [abs(area[i] - drawn[j]) / drawn[j] for i, j in pairs]
    return Score(len(pairs), int(np.count_nonzero(hit)), int(n), int(m), errors)


def without_small(labels: Labels, min_px: float) -> Labels:
    counts = np.bincount(labels.ravel())
    keep = counts >= min_px
    keep[0] = False
    return np.where(keep, np.cumsum(keep), 0).astype(np.int32)[labels]


def f1(scores: list[Score], hits: str = "overlapping") -> float:
    return 2 * sum(getattr(s, hits) for s in scores) / max(1, sum(s.found + s.drawn for s in scores))


def line(name: str, scores: list[Score]) -> str:
    found, drawn, hits = (sum(getattr(s, key) for s in scores) for key in ("found", "drawn", "centered"))
    errors = [error for s in scores for error in s.area_errors]
    return (
        f"  {name:26} F1 by IoU {f1(scores):.3f}, by center {f1(scores, 'centered'):.3f} "
        f"(precision {hits / max(1, found):.2f}, recall {hits / drawn:.2f}), "
        f"area error {np.median(errors) if errors else np.nan:.0%}, {found} found of {drawn}"
    )


def interval(a: list[Score], b: list[Score]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval over tiles of the ratio of F1 by IoU."""
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(a), (2000, len(a)))
    low, high = np.percentile([f1([a[i] for i in d]) / f1([b[i] for i in d]) for d in draws], [2.5, 97.5])
    return float(low), float(high)


def phantoms() -> None:
    """Print results on phantoms, whose nuclei are all known, at the scale of the paper preset."""
    for genotype in GENOTYPES:
        phantom = draw_phantom(genotype, width_px=1536, height_px=1536, mpp=0.25, rng=np.random.default_rng(0))
        cut = phantom.image[384:1152, 384:1152]
        image = np.asarray(Image.fromarray(cut).resize((192, 192), Image.Resampling.BOX))
        nuclei = find_nuclei(image, mpp=PAPER_MPP, fit=fit_pooled_stains([phantom.image]))
        drawn = phantom.truth.nuclei
        xy = np.stack([drawn["x"], drawn["y"]], axis=1) - 384
        inside = ((xy > 0) & (xy < 768)).all(axis=1)
        x, y = (xy[inside] * nuclei.labels.shape[0] / 768).astype(int).T
        hits = np.count_nonzero(np.unique(nuclei.labels[y, x]))
        table = measure_nuclei(nuclei)
        radii = np.sort([drawn["major"][inside], drawn["minor"][inside]], axis=0)
        print(
            f"  {genotype:18} F1 by center {2 * hits / (len(nuclei) + inside.sum()):.3f}; "
            f"{len(nuclei)} found of {inside.sum()}; "
            f"area {np.median(table['area_um2']):.0f} um² (drawn {np.median(np.pi * radii[0] * radii[1]) / 16:.0f}); "
            f"eccentricity {np.median(table['eccentricity']):.2f} "
            f"(drawn {np.median(np.sqrt(1 - (radii[0] / radii[1]) ** 2)):.2f}); "
            f"halo {np.nanmedian(table['halo']):.2f}"
        )


def patches_per_s(tile: Tile) -> float:
    """Return patches of 128 px measured per processor second, at the scale of the paper preset."""
    patch = np.asarray(Image.fromarray(tile.image[:512, :512]).resize((128, 128), Image.Resampling.BOX))
    fit = fit_pooled_stains([tile.image])
    start = time.process_time()
    for _ in range(20):
        measure_images(patch[None], mpp=[PAPER_MPP], fit=fit)
    return 20 / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    tuned, reported = read(options.data)
    at_paper: dict[str, list[Score]] = {}
    for mpp in [PAPER_MPP] if options.quick else [None, 0.5, PAPER_MPP, 1.25, 2.0, 3.0, 4.0]:
        print(f"{'as scanned' if mpp is None else f'at {mpp:g} um/px'}: tiles not used for tuning")
        for name, detector in DETECTORS.items():
            scores = [score(detect(tile, detector, mpp), tile.truth, tile.mpp) for tile in reported]
            print(line(name, scores))
            if mpp == PAPER_MPP:
                at_paper[name] = scores
            if mpp in (None, PAPER_MPP):
                for tile, one in zip(reported, scores, strict=True):
                    print("  " + line(f"{tile.name} ({tile.mpp:g} um/px)", [one]))
    if not options.quick:
        scores = [score(detect(tile, ours, PAPER_MPP), tile.truth, tile.mpp) for tile in tuned]
        print(f"at {PAPER_MPP:g} um/px: tiles used for tuning\n{line('histosynth', scores)}")
        print(f"phantoms at {PAPER_MPP:g} um/px")
        phantoms()
    speed = patches_per_s(next(tile for tile in reported if tile.mpp == 0.25))
    print(f"{speed:.0f} patches of 128 px per processor second")
    mine, theirs = at_paper["histosynth"], at_paper["otsu + watershed"]
    low, high = interval(mine, theirs)
    result = {"name": "morphology", "ratio": f1(mine) / f1(theirs), "low": low, "high": high,
              "unit": "F1 by IoU, ours / plain Otsu and watershed, at 1 um/px", "f1": f1(mine), "f1_peer": f1(theirs),
              "f1_center": f1(mine, "centered"), "patches_per_cpu_s": speed}  # fmt: skip
    print(json.dumps({key: round(value, 3) if isinstance(value, float) else value for key, value in result.items()}))


if __name__ == "__main__":
    main()
