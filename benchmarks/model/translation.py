"""Preservation of layout and change of nuclei by genotype translation, on phantoms, whose truth is known.

Held-out patches of each genotype are translated to each other genotype (`histosynth translate`). Layout is measured by
the structural similarity (SSIM, scikit-image) of each result to its source, compared with that of unrelated real
patches of the target genotype. Nuclei are measured by density and by medians of area, eccentricity and halo, in source,
result and real target patches, all of held-out patients. For features that differ between the real genotypes by at
least half their standard deviation, `share` is the part of this difference that the translation achieves: 0 no change,
1 all of it, below 0 the opposite direction.

No data are required: without --run and --store, the script trains the model of `histosynth demo`. It takes 4 minutes on
one core, and 5 more to train the model; `--quick` takes less than a minute and only shows that the script runs.

    .venv/bin/python benchmarks/model/translation.py [--run RUN --store STORE] [--quick]

The last line is JSON: `ratio` is the median share; `low` and `high` are its 95 % interval over resampled patches.
"""

import argparse
import json
import tempfile
from itertools import permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from phantom_model import add_options, run_and_store
from skimage.metrics import structural_similarity

from histosynth.metrics.morphology import Morphology, fit_pooled_stains, measure_images
from histosynth.sampling.edit import EditOptions, translate
from histosynth.sampling.sources import Selection
from histosynth.store.store import Store

FEATURES = ("density_per_mm2", "area_um2", "eccentricity", "halo")
_MIN_DIFFERENCE = 0.5  # standard deviations between real genotypes, for a feature to be included


def similarity(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Compute the mean SSIM of pairs."""
    return float(np.mean([structural_similarity(x, y, channel_axis=2) for x, y in zip(a, b, strict=True)]))


def central(morphology: Morphology, feature: str, patches: NDArray[np.int64]) -> float:
    """Compute the median of a feature over the nuclei of these patches, or the mean density over patches."""
    if feature == "density_per_mm2":
        return float(morphology.density_per_mm2[patches].mean())
    times = np.bincount(patches, minlength=len(morphology.density_per_mm2))[morphology.patch]
    return float(np.nanmedian(np.repeat(morphology.nuclei[feature], times)))


def shares(real: dict[str, Morphology], translated: dict[tuple[str, str], Morphology], rng: np.random.Generator | None):
    """Compute the share of each pair and included feature; with `rng`, on resampled patches."""

    def value(morphology: Morphology, feature: str) -> float:
        n = len(morphology.density_per_mm2)
        return central(morphology, feature, np.arange(n) if rng is None else rng.integers(0, n, n))

    results = {}
    for (source, target), result in translated.items():
        for feature in FEATURES:
            deviation = np.mean([real[name].values(feature).std() for name in (source, target)])
            source_all, target_all = (
                central(real[name], feature, np.arange(len(real[name].density_per_mm2))) for name in (source, target)
            )
            if abs(target_all - source_all) < _MIN_DIFFERENCE * deviation:
                continue
            start, end = value(real[source], feature), value(real[target], feature)
            if end != start:  # resampled patches may be equal
                results[source, target, feature] = (value(result, feature) - start) / (end - start)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--per-label", type=int, default=60)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        measure(options, Path(temporary))


def measure(options: argparse.Namespace, folder: Path) -> None:
    per_label, steps = (8, 4) if options.quick else (options.per_label, options.steps)
    # Translate
    run, path = run_and_store(options, folder)
    store, out = Store(path), folder / "edits"
    translate(
        run, Selection(paths=[path], per_label=per_label), out=out, options=EditOptions(steps=steps, progress=False)
    )
    edits = Store(out)
    # Measure nuclei and similarity
    row_of = {name: row for row, name in enumerate(store.column("patch_id"))}
    names, labels, origin = edits.column("patch_id"), edits.column("label"), edits.manifest["edits"]
    source_rows = np.array([row_of[origin[name]["from"][0]] for name in names])
    source_labels = np.array(store.column("label"))[source_rows]
    fit = fit_pooled_stains(store.images([row]) for row in store.select(split="train")[::10])
    mpp = store.column("mpp")[0]

    def morphology(images: NDArray[np.uint8]) -> Morphology:
        return measure_images(images, mpp=[mpp] * len(images), fit=fit)

    images_of = {label: store.images(np.unique(source_rows[source_labels == label])) for label in store.labels}
    real = {label: morphology(images) for label, images in images_of.items()}
    translated, ssim, unrelated = {}, {}, {}
    for source, target in permutations(store.labels, 2):
        selected = (source_labels == source) & (np.array(labels) == target)
        images, before = edits.images(np.flatnonzero(selected)), store.images(source_rows[selected])
        translated[source, target] = morphology(images)
        ssim[source, target] = similarity(images, before)
        n = min(len(before), len(images_of[target]))
        unrelated[source, target] = similarity(images_of[target][:n], before[:n])
    # Tables
    head = ("density /mm²", "area um²", "eccentricity", "halo")
    print(f"{per_label} held-out patches of each genotype, {steps} steps")
    print(f"| of | as | SSIM to the source (unrelated) | {' | '.join(head)} |\n{'| --- ' * 7}|")
    for label, values in real.items():
        print(f"| {label} | real | | {cells(values)} |")
        for (source, target), result in translated.items():
            if source == label:
                similar = f"{ssim[source, target]:.2f} ({unrelated[source, target]:.2f})"
                print(f"| | {target} | {similar} | {cells(result)} |")
    share_of = shares(real, translated, None)
    for (source, target, feature), share in share_of.items():
        print(f"  {source} as {target}: {feature} {share:.0%} of the difference")
    # Result
    rng = np.random.default_rng(0)
    draws = [np.median(list(shares(real, translated, rng).values())) for _ in range(200)]
    low, high = np.percentile(draws, [2.5, 97.5])
    result = {"name": "translation", "ratio": float(np.median(list(share_of.values()))), "low": float(low),
              "high": float(high), "unit": "of the difference between real genotypes",
              "right_direction": sum(share > 0 for share in share_of.values()), "of": len(share_of),
              "ssim": float(np.mean(list(ssim.values()))), "ssim_unrelated": float(np.mean(list(unrelated.values()))),
              "per_label": per_label, "steps": steps}  # fmt: skip
    print(json.dumps(result))


def cells(morphology: Morphology) -> str:
    everything = np.arange(len(morphology.density_per_mm2))
    density, *rest = (central(morphology, feature, everything) for feature in FEATURES)
    return " | ".join([f"{density:.0f}", f"{rest[0]:.0f}", f"{rest[1]:.2f}", f"{rest[2]:.2f}"])


if __name__ == "__main__":
    main()
