"""Does genotype translation keep the layout and change the nuclei the right way? On phantoms, whose truth is known.

Held-out patches of each genotype are translated into each other one (`histosynth translate`). Layout: the structural
similarity (SSIM, scikit-image) of each result to its source, beside that of unrelated real patches of the target to the
source. Nuclei: density, and medians of area, eccentricity and halo, in source, result and real target patches, each of
held-out patients. Where a feature differs between the real genotypes by half its standard deviation or more, `share` is
how much of that way the translation went: 0 not at all, 1 arrived, below 0 the wrong way.

Needs nothing: without --run and --store it makes the model of `histosynth demo` itself. On one core 4 minutes, and 5 to
make the model; `--quick` takes less than one, and shows that it runs.

    .venv/bin/python benchmarks/model/translation.py [--run RUN --store STORE] [--quick]

The last line is JSON: `ratio` is the median share, `low` and `high` its 95 % interval when patches are drawn anew.
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
_APART = 0.5  # standard deviations between real genotypes, for a way to go


def similarity(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Mean SSIM of pairs."""
    return float(np.mean([structural_similarity(x, y, channel_axis=2) for x, y in zip(a, b, strict=True)]))


def typical(found: Morphology, feature: str, patches: NDArray[np.int64]) -> float:
    """The median over the nuclei of these patches; of the density, the mean over patches."""
    if feature == "density_per_mm2":
        return float(found.density_per_mm2[patches].mean())
    times = np.bincount(patches, minlength=len(found.density_per_mm2))[found.patch]
    return float(np.nanmedian(np.repeat(found.nuclei[feature], times)))


def shares(sides: dict[str, Morphology], made: dict[tuple[str, str], Morphology], rng: np.random.Generator | None):
    """How far each pair went in each feature that has a way to go; patches drawn anew by `rng`, or as they are."""

    def value(found: Morphology, feature: str) -> float:
        n = len(found.density_per_mm2)
        return typical(found, feature, np.arange(n) if rng is None else rng.integers(0, n, n))

    found = {}
    for (source, target), result in made.items():
        for feature in FEATURES:
            deviation = np.mean([sides[name].values(feature).std() for name in (source, target)])
            everything = [
                typical(s, feature, np.arange(len(s.density_per_mm2))) for s in (sides[source], sides[target])
            ]
            if abs(everything[1] - everything[0]) < _APART * deviation:
                continue
            start, end = value(sides[source], feature), value(sides[target], feature)
            if end != start:  # a draw of few patches may have no way to go
                found[source, target, feature] = (value(result, feature) - start) / (end - start)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--per-label", type=int, default=60)
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        measure(given, Path(temporary))


def measure(given: argparse.Namespace, folder: Path) -> None:
    per_label, steps = (8, 4) if given.quick else (given.per_label, given.steps)
    run, path = run_and_store(given, folder)
    store, out = Store(path), folder / "edits"
    translate(
        run, Selection(paths=[path], per_label=per_label), out=out, options=EditOptions(steps=steps, progress=False)
    )
    edits = Store(out)
    at = {name: row for row, name in enumerate(store.column("patch_id"))}
    names, labels, origin = edits.column("patch_id"), edits.column("label"), edits.manifest["edits"]
    source_rows = np.array([at[origin[name]["from"][0]] for name in names])
    source_labels = np.array(store.column("label"))[source_rows]
    fit = fit_pooled_stains(store.images([row]) for row in store.select(split="train")[::10])
    mpp = store.column("mpp")[0]

    def measured(images: NDArray[np.uint8]) -> Morphology:
        return measure_images(images, mpp=[mpp] * len(images), fit=fit)

    real = {label: store.images(np.unique(source_rows[source_labels == label])) for label in store.labels}
    sides = {label: measured(images) for label, images in real.items()}
    made, kept, unrelated = {}, {}, {}
    for source, target in permutations(store.labels, 2):
        these = (source_labels == source) & (np.array(labels) == target)
        images, before = edits.images(np.flatnonzero(these)), store.images(source_rows[these])
        made[source, target] = measured(images)
        kept[source, target] = similarity(images, before)
        n = min(len(before), len(real[target]))
        unrelated[source, target] = similarity(real[target][:n], before[:n])
    head = ("density /mm²", "area um²", "eccentricity", "halo")
    print(f"{per_label} held-out patches of each genotype, {steps} steps")
    print(f"| of | as | SSIM to the source (unrelated) | {' | '.join(head)} |\n{'| --- ' * 7}|")
    for label, found in sides.items():
        print(f"| {label} | real | | {figures(found)} |")
        for (source, target), result in made.items():
            if source == label:
                similar = f"{kept[source, target]:.2f} ({unrelated[source, target]:.2f})"
                print(f"| | {target} | {similar} | {figures(result)} |")
    found = shares(sides, made, None)
    for (source, target, feature), share in found.items():
        print(f"  {source} as {target}: {feature} {share:.0%} of the way")
    rng = np.random.default_rng(0)
    draws = [np.median(list(shares(sides, made, rng).values())) for _ in range(200)]
    low, high = np.percentile(draws, [2.5, 97.5])
    result = {"name": "translation", "ratio": float(np.median(list(found.values()))), "low": float(low),
              "high": float(high), "unit": "of the way between real genotypes",
              "right_way": sum(share > 0 for share in found.values()), "of": len(found),
              "ssim": float(np.mean(list(kept.values()))), "ssim_unrelated": float(np.mean(list(unrelated.values()))),
              "per_label": per_label, "steps": steps}  # fmt: skip
    print(json.dumps(result))


def figures(found: Morphology) -> str:
    everything = np.arange(len(found.density_per_mm2))
    density, *rest = (typical(found, feature, everything) for feature in FEATURES)
    return " | ".join([f"{density:.0f}", f"{rest[0]:.0f}", f"{rest[1]:.2f}", f"{rest[2]:.2f}"])


if __name__ == "__main__":
    main()
