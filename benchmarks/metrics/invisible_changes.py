"""Changes that the eye hardly sees and features do, and a repetition that the kernel distance hardly sees.

Lung fields of LC25000 at half resolution, crops of 64 px, halved by source field: 500 crops of one half are the real
set; 500 of the other half, also real, stand in for samples of an ideal generator, and are then changed. Features are
those of EfficientNet-Lite0. Sharpening is the control for guidance, which sharpens samples: it adds no information.

    python benchmarks/metrics/invisible_changes.py --data DIR       # LC25000 (images/, labels.csv); five minutes
"""

import argparse
import csv
import json
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from histosynth.metrics.extractors import FEATURES, build_extractor
from histosynth.metrics.frechet import frechet_distance
from histosynth.metrics.kid import kid_interval
from histosynth.metrics.manifold import membership
from histosynth.metrics.statistics import Statistics
from histosynth.metrics.uncertainty import patient_units

PX, DISTINCT = 64, 40
Images = NDArray[np.uint8]  # (N, H, W, 3)


def main() -> None:
    """Measure each change, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    count, rng = (60 if given.quick else 500), np.random.default_rng(0)
    (real, fields), (other, _) = halves(given.data, count, rng)
    units = patient_units(fields)
    extractor = build_extractor("efficientnet-lite0", device="cpu")

    def features(images: Images) -> NDArray[np.float32]:
        outputs = [extractor(images[i : i + 32]) for i in range(0, len(images), 32)]
        return np.concatenate([x[FEATURES] if isinstance(x, dict) else x for x in outputs])

    x = features(real)
    changed: dict[str, Images] = {
        "none": other,
        "noise, sd 3 of 255": (other + rng.normal(0, 3, other.shape)).round().clip(0, 255).astype(np.uint8),
        "JPEG of quality 90": each(other, lambda image: jpeg(image, quality=90)),
        "blur, sigma 0.5 px": each(other, partial(blur, sigma=0.5)),
        "sharpened": each(other, sharpen),
        "blur, sigma 1 px": each(other, partial(blur, sigma=1)),
        "blur, sigma 1 px, then sharpened": each(other, lambda image: sharpen(blur(image, sigma=1))),
        f"{DISTINCT} distinct patches repeated": other[np.arange(count) % DISTINCT],
    }
    print("| change | Fréchet distance | kernel distance | precision | recall |\n| --- | --- | --- | --- | --- |")
    distances = {}
    for name, images in changed.items():
        y = features(images)
        distances[name] = frechet_distance(Statistics.of(x), Statistics.of(y))
        kernel = kid_interval(x, y, real_units=units)
        shares = membership(x, y)
        print(
            f"| {name} | {distances[name]:.1f} | {kernel.value:.4f} ({kernel.low:.4f} to {kernel.high:.4f}) "
            f"| {shares.precision:.2f} | {shares.recall:.2f} |"
        )
    print(json.dumps({"name": "invisible_changes", "distances": distances}))


def halves(folder: Path, count: int, rng: np.random.Generator) -> list[tuple[Images, list[str]]]:
    """Return `count` crops of each half of the lung fields, with the source field of each crop."""
    sides: list[list[tuple[Images, str]]] = [[], []]
    with (folder / "labels.csv").open() as table:
        rows = [row for row in csv.DictReader(table) if row["class"].startswith("lung")]
    groups = {
        group: i % 2 for i, group in enumerate(rng.permutation(sorted({f"{r['class']}/{r['group']}" for r in rows})))
    }
    for row in rows:
        with Image.open(folder / "images" / row["file"]) as opened:
            field = np.asarray(opened.convert("RGB").reduce(2))
        group = f"{row['class']}/{row['group']}"
        for y in range(0, field.shape[0] - PX + 1, PX):
            for x in range(0, field.shape[1] - PX + 1, PX):
                sides[groups[group]].append((field[y : y + PX, x : x + PX], group))
    chosen = [[side[i] for i in rng.permutation(len(side))[:count]] for side in sides]
    return [(np.stack([image for image, _ in side]), [group for _, group in side]) for side in chosen]


def each(images: Images, change: Callable[[Images], Images]) -> Images:
    """Return every image changed."""
    return np.stack([change(image) for image in images])


def blur(image: Images, *, sigma: float) -> Images:
    """Return the image after a Gaussian blur."""
    return ndimage.gaussian_filter(image, (sigma, sigma, 0))


def sharpen(image: Images) -> Images:
    """Return the image after an unsharp mask: half of what a blur of one pixel removes is added."""
    soft = ndimage.gaussian_filter(image.astype(np.float64), (1, 1, 0))
    return (image + 0.5 * (image - soft)).round().clip(0, 255).astype(np.uint8)


def jpeg(image: Images, *, quality: int) -> Images:
    """Return the image after JPEG compression."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


if __name__ == "__main__":
    main()
