"""Measure stain normalization on four sets of real tissue: status of patches, distance between slides, and nuclei.

Needs a folder with `lgg_mini` (slides, outlines, labels), `glioma_cpm15`, `crc_val_he_7k_sample` and
`osteosarcoma_10x` (tiles). Each set becomes a raw store (with each tile as a slide) and is normalized by each method.
The script prints

    status    numbers of patches that were normalized, or skipped for a reason
    stains    mean distance between the stains of two slides, raw -> normalized (`histosynth.stain.distance`), by the
              same reference method for all rows
    colors    Fréchet distance of the optical densities of tissue, raw -> normalized, which also depends on content
    nuclei    structural similarity of the hematoxylin of each patch, raw and normalized: mean and 5th percentile

It takes about four minutes on one core; `--quick` uses every eighth tile. `ratio` is the largest ratio over the sets of
the normalized to the raw distance between stains, for Macenko; `low` is the smallest.

    .venv/bin/python benchmarks/data/stain_cohorts.py DATA [--quick] [--previews DIR]
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import structural_similarity

from histosynth.config import PatchSettings
from histosynth.convert.pack import pack
from histosynth.metrics.color import ColorStatistics, color_distance
from histosynth.normalization.normalize import normalize
from histosynth.normalization.stain_spread import REFERENCE_METHOD
from histosynth.patches.extract import extract
from histosynth.stain import StainError, StainFit, normalizers, tissue_pixels
from histosynth.stain.optical_density import to_density
from histosynth.store.store import Store

MPP = {"glioma_cpm15": 0.5, "crc_val_he_7k_sample": 0.5, "osteosarcoma_10x": 1.0}
SIDE_PX = {"glioma_cpm15": 224, "crc_val_he_7k_sample": 224, "osteosarcoma_10x": 256}


def raw_store(data: Path, name: str, out: Path, *, every: int) -> None:
    """Write a store of the patches of a set in raw colors."""
    if name == "lgg_mini":
        settings = PatchSettings(stain="none", cap=25 if every > 1 else 100)
        folder = data / name
        extract(
            [folder / "slides"], out=out, settings=settings, outlines=folder / "annotations",
            labels=folder / "labels.csv", progress=False,
        )  # fmt: skip
        return
    with tempfile.TemporaryDirectory() as temporary:
        tiles = Path(temporary) / "all"
        tiles.mkdir()
        for path in sorted((data / name / "images").iterdir())[::every]:
            Image.open(path).convert("RGB").save(tiles / f"{path.stem}.png", compress_level=1)
        pack(tiles.parent, out=out, settings=PatchSettings(), mpp=MPP[name], crop_px=SIDE_PX[name], progress=False)


def by_slide(store: Store) -> dict[str, NDArray[np.uint8]]:
    slides = np.array(store.column("slide_id"))
    return {name: store.images(np.flatnonzero(slides == name)) for name in dict.fromkeys(slides.tolist())}


def colors_between(slides: dict[str, NDArray[np.uint8]]) -> float:
    """Return the mean Fréchet distance of optical densities over all pairs of slides that show tissue."""
    with_tissue = [images for images in slides.values() if len(tissue_pixels(images.reshape(-1, 3))) > 1000]
    statistics = [ColorStatistics.of(images) for images in with_tissue]
    return float(np.mean([color_distance(a, b) for a, b in combinations(statistics, 2)]))


def fit_of(images: NDArray[np.uint8]) -> StainFit | None:
    try:
        return REFERENCE_METHOD.estimate(tissue_pixels(images.reshape(-1, 3)[::4]))
    except StainError:
        return None


def hematoxylin(image: NDArray[np.uint8], fit: StainFit) -> NDArray[np.float32]:
    """Return the concentration of hematoxylin, relative to the 99th percentile of the slide."""
    concentrations = to_density(image) @ np.linalg.pinv(np.array(fit.stains, np.float32))[:, 0]
    return np.clip(concentrations / np.float32(fit.max_concentrations[0]), 0, 1.5)


def similarity(raw: dict[str, NDArray[np.uint8]], normalized: dict[str, NDArray[np.uint8]]) -> Iterator[float]:
    """Yield the structural similarity of hematoxylin of each patch with at least a tenth of tissue."""
    for name, images in raw.items():
        fits = fit_of(images), fit_of(normalized[name])
        if fits[0] is None or fits[1] is None:
            continue
        for a, b in zip(images, normalized[name], strict=True):
            if len(tissue_pixels(a.reshape(-1, 3))) > 0.1 * a.size / 3:
                pair = hematoxylin(a, fits[0]), hematoxylin(b, fits[1])
                yield float(structural_similarity(*pair, data_range=1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--previews", type=Path, help="save the preview of each set and method here")
    arguments = parser.parse_args()
    methods = [name for name in normalizers if name != "none"]
    ratios = {}
    titles = f"{'stains raw':>11}{'->':>7}{'ratio':>7}{'colors raw':>12}{'->':>7}{'nuclei':>8}{'5 %':>7}  status"
    print(f"{'set':22}{'method':10}{titles}")
    # Normalize each set by each method.
    for name in ("lgg_mini", *MPP):
        with tempfile.TemporaryDirectory() as temporary:
            raw = Path(temporary) / "raw"
            raw_store(arguments.data, name, raw, every=8 if arguments.quick and name != "glioma_cpm15" else 1)
            slides = by_slide(Store(raw))
            for method in methods:
                out = Path(temporary) / method
                result = normalize(raw, out=out, method=method, preview=arguments.previews is not None, progress=False)
                if arguments.previews is not None and result.preview is not None:
                    arguments.previews.mkdir(exist_ok=True)
                    shutil.copy(result.preview, arguments.previews / f"{name}-{method}.png")
                distances, normalized = result.between_slides, by_slide(Store(out))
                assert distances is not None
                ratio = distances["normalized"] / distances["raw"]
                ratios[method, name] = ratio
                similarities = list(similarity(slides, normalized))
                print(
                    f"{name:22}{method:10}{distances['raw']:11.3f}{distances['normalized']:7.3f}{ratio:7.2f}"
                    f"{colors_between(slides):12.3f}{colors_between(normalized):7.3f}"
                    f"{np.mean(similarities):8.3f}{np.percentile(similarities, 5):7.3f}  "
                    + ", ".join(f"{count} {status}" for status, count in result.patches.items()),
                    flush=True,
                )
    # Summarize the default method.
    macenko = [ratio for (method, _), ratio in ratios.items() if method == "macenko"]
    print(
        json.dumps(
            {
                "name": "stain_cohorts",
                "ratio": round(max(macenko), 3),
                "low": round(min(macenko), 3),
                "high": round(max(macenko), 3),
                "unit": "distance between the stains of slides, normalized over raw (Macenko)",
                "by_set": {f"{name} {method}": round(ratio, 3) for (method, name), ratio in ratios.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
