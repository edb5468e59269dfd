"""Tissue degraded in known ways, for `sensitivity.py`: crops, halves of a cohort, degradations and expectations."""

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from histosynth.stain import StainFit, tissue_pixels
from histosynth.stain.optical_density import to_density, to_rgb
from histosynth.store.part import Patch

CROP_PX, MPP = 128, 1.0  # field of view of the paper preset
Images = NDArray[np.uint8]  # (N, H, W, 3)

_FAR = {"frechet": "up", "kernel": "up"}
_SAME_COLOR = {"color": "still", "stain": "still"}
_NOT_REAL = {**_FAR, "precision": "down", "density": "down", "copies": "still"}
_LESS_VARIED = {**_FAR, "precision": "still", "recall": "down", "coverage": "down"}
EXPECTED: dict[str, dict[str, str]] = {
    "blur, sigma 1 px": {**_NOT_REAL, **_SAME_COLOR, "coverage": "down", "nuclei": "up"},
    "blur, sigma 2 px": {**_NOT_REAL, "recall": "down", "coverage": "down", "nuclei": "up", "recognized": "down"},
    "JPEG of quality 30": {**_NOT_REAL, **_SAME_COLOR, "nuclei": "still"},
    "noise, sigma 10 of 255": {**_NOT_REAL, **_SAME_COLOR},
    "checkerboard of 4 of 255": {**_NOT_REAL, **_SAME_COLOR, "nuclei": "still"},
    "blocks of 32 px shuffled": {**_FAR, **_SAME_COLOR, "precision": "down", "nuclei": "still", "copies": "still"},
    "hematoxylin +20 %": {**_FAR, "color": "up", "stain": "up", "nuclei": "up", "copies": "still"},
    "red +15 %, blue -15 % of OD": {**_NOT_REAL, "color": "up", "stain": "up"},
    "few tiles of each class": {**_LESS_VARIED, "copies": "still"},
    "one class drawn as another": {**_LESS_VARIED, "recognized": "down", "useful": "down", "own": "down"},
    "one class missing": _LESS_VARIED,
    "labels shuffled": {
        **dict.fromkeys(("frechet", "kernel", "precision", "recall", "density", "coverage"), "still"),
        **_SAME_COLOR, "nuclei": "still", "recognized": "down", "useful": "down", "own": "down",
    },
    "one in ten a copy": {
        **dict.fromkeys(("frechet", "kernel", "precision", "recall", "color"), "still"),
        "copies": "up", "authentic": "down", "c_t": "down",
    },
    "all of them copies": {"frechet": "down", "copies": "up", "authentic": "down", "c_t": "down",
                           "recognized": "still"},
    "another organ": {**_NOT_REAL, "recall": "down", "coverage": "down", "color": "up", "nuclei": "up",
                      "recognized": "down", "useful": "down"},
}  # fmt: skip
"""Degradation -> measures that should go up or down, or stay still."""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """The crops of one tile that show tissue, in random order; the first `few` are used for the halves."""

    name: str
    label: str
    case: str
    crops: Images

    def patches(self, rows: slice, *, source: str, split: str | None = None) -> list[Patch]:
        """Return these crops as rows of a store; only real ones have a case and a tile."""
        real = source == "real"
        return [
            Patch(patch_id=f"{source}/{self.name}/{i}", image=image, source=source, label=self.label, mpp=MPP,
                  split=split, patient_id=self.case if real else None, slide_id=self.name if real else None)
            for i, image in list(enumerate(self.crops))[rows]
        ]  # fmt: skip


def tiles(folder: Path, *, case: str, per_class: int | None = None) -> list[Tile]:
    """Return the tiles of a folder, at most `per_class` per class; `case` is the column of the case in its table."""
    tiles_read: list[Tile] = []
    with (folder / "labels.csv").open() as table:
        for row in csv.DictReader(table):
            if per_class and sum(t.label == row["class"] for t in tiles_read) >= per_class:
                continue
            with Image.open(folder / "images" / row["file"]) as opened:
                image = np.asarray(opened.convert("RGB"))
            n = image.shape[0] // CROP_PX
            crops = image.reshape(n, CROP_PX, n, CROP_PX, 3).swapaxes(1, 2).reshape(-1, CROP_PX, CROP_PX, 3)
            crops = crops[[len(tissue_pixels(c.reshape(-1, 3))) >= CROP_PX**2 / 2 for c in crops]]
            order = np.random.default_rng(len(tiles_read)).permutation(len(crops))
            tiles_read.append(Tile(name=row["file"], label=row["class"], case=row[case], crops=crops[order]))
    return tiles_read


def halves(training: Sequence[Tile], *, seed: int) -> tuple[list[Tile], list[Tile]]:
    """Return the tiles of each class, halved at random."""
    rng, sides = np.random.default_rng(seed), ([], [])
    for label in sorted({t.label for t in training}):
        own = [t for t in training if t.label == label]
        for place, i in enumerate(rng.permutation(len(own))):
            sides[place % 2].append(own[i])
    return sides


def modified(patches: Iterable[Patch], change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> list[Patch]:
    return [replace(p, image=np.ascontiguousarray(change(p.image))) for p in patches]


def jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, format="JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def clipped(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def shuffled_blocks(image: NDArray[np.uint8], rng: np.random.Generator, side: int = 32) -> NDArray[np.uint8]:
    n = len(image) // side
    cut = image.reshape(n, side, n, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    return rng.permutation(cut).reshape(n, n, side, side, 3).swapaxes(1, 2).reshape(image.shape)


def more_hematoxylin(image: NDArray[np.uint8], stains: StainFit) -> NDArray[np.uint8]:
    vectors, density = np.array(stains.stains, dtype=np.float32), to_density(image)
    amount = np.maximum((density @ np.linalg.pinv(vectors))[..., :1], 0)
    return to_rgb(density + 0.2 * amount * vectors[0])


def degradations(
    stand_in: list[Patch], *, half: list[Tile], train: list[Patch], organ: list[Tile], stains: StainFit
) -> dict[str, Callable[[], list[Patch]]]:
    """Return each degradation of the stand-in, by the names of `EXPECTED`."""
    # Shared by the degradations below.
    rng = np.random.default_rng(0)
    labels = sorted({p.label or "" for p in stand_in})
    counts = {label: sum(p.label == label for p in stand_in) for label in labels}
    board = np.indices((CROP_PX, CROP_PX)).sum(axis=0)[..., None] % 2 * 8.0 - 4.0
    tint = np.array([1.15, 1.0, 0.85], dtype=np.float32)

    def few_tiles() -> list[Patch]:
        patches = []
        for label in labels:
            own: list[Patch] = []
            for tile in sorted((t for t in half if t.label == label), key=lambda t: -len(t.crops)):
                own += tile.patches(slice(None), source="fake") if len(own) < counts[label] else []
            patches += own[: counts[label]]
        return patches

    def one_class_as_another() -> list[Patch]:
        others = [p for t in half if t.label == labels[0] for p in t.patches(slice(None), source="fake")]
        unused = [p for p in others if p.patch_id not in {s.patch_id for s in stand_in}]
        drawn = [replace(p, label=labels[-1]) for p in unused[: counts[labels[-1]]]]
        return [p for p in stand_in if p.label != labels[-1]] + drawn

    def shuffled_labels() -> list[Patch]:
        return [
            replace(p, label=stand_in[i].label) for p, i in zip(stand_in, rng.permutation(len(stand_in)), strict=True)
        ]

    def copied(share: float) -> list[Patch]:
        patches = []
        for label in labels:
            own, originals = ([p for p in side if p.label == label] for side in (stand_in, train))
            for i, patch in enumerate(own):
                wanted = int((i + 1) * share) > int(i * share)  # evenly, because the plan uses only some of them
                original = originals[i % len(originals)]
                patches.append(replace(patch, image=jpeg(original.image[:, ::-1], 75)) if wanted else patch)
        return patches

    def other_organ() -> list[Patch]:
        patches = []
        for label, name in zip(labels, sorted({t.label for t in organ}), strict=False):
            own = [p for t in organ if t.label == name for p in t.patches(slice(20), source="fake")]
            patches += [replace(p, label=label) for p in own[: counts[label]]]
        return patches

    # By name; those of pixels first.
    return {
        "blur, sigma 1 px": lambda: modified(stand_in, lambda x: ndimage.gaussian_filter(x, (1, 1, 0))),
        "blur, sigma 2 px": lambda: modified(stand_in, lambda x: ndimage.gaussian_filter(x, (2, 2, 0))),
        "JPEG of quality 30": lambda: modified(stand_in, lambda x: jpeg(x, 30)),
        "noise, sigma 10 of 255": lambda: modified(stand_in, lambda x: clipped(x + rng.normal(0, 10, x.shape))),
        "checkerboard of 4 of 255": lambda: modified(stand_in, lambda x: clipped(x + board)),
        "blocks of 32 px shuffled": lambda: modified(stand_in, lambda x: shuffled_blocks(x, rng)),
        "hematoxylin +20 %": lambda: modified(stand_in, lambda x: more_hematoxylin(x, stains)),
        "red +15 %, blue -15 % of OD": lambda: modified(stand_in, lambda x: to_rgb(to_density(x) * tint)),
        "few tiles of each class": few_tiles,
        "one class drawn as another": one_class_as_another,
        "one class missing": lambda: [p for p in stand_in if p.label != labels[-1]],
        "labels shuffled": shuffled_labels,
        "one in ten a copy": lambda: copied(0.1),
        "all of them copies": lambda: copied(1.0),
        "another organ": other_organ,
    }
