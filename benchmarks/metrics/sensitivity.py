"""Direction of each measure of a report when tissue degraded in known ways replaces the synthetic patches.

Needs `osteosarcoma_10x` (see `osteosarcoma.py`) and `lc25000_768` (fields of colon and lung) under DIR, each with
`images/` and `labels.csv`. Crops of 128 px at 1 um/px; Case-4 is held out. The tiles of the other cases are halved at
random, class by class. One half is the training set. The other is the stand-in for synthetic patches, as an ideal
generator would draw them: new tissue of patients in the training set. (Halves by patient are impossible: two classes
have one case each.) Each degradation is applied to the same stand-in, and everything is measured by the functions of
the report, synthetic against training patches. A measure has changed if it is outside the range of ten halvings of the
unchanged tiles. The expected changes are in `EXPECTED` of `degraded_tissue.py`, written before any measurement.

    .venv/bin/python benchmarks/metrics/sensitivity.py --data DIR [--quick] [--weights FILE]

Takes seven minutes of one core, less than one with `--quick`, which shows only that it runs. `--weights`: those of
Inception, for FID instead of EfficientNet-Lite0. Prints the tables of `docs/how-to/evidence.md`. The last line is JSON:
`ratio` is the share of expectations that hold, `low` and `high` the lowest and highest with one halving left out.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
from degraded_tissue import EXPECTED, MPP, Images, degradations, halves, tiles
from numpy.typing import NDArray

from histosynth.metrics.classifier import LabeledFeatures, fit_classifier, measure_accuracy
from histosynth.metrics.extractors import FEATURES, FeatureExtractor, build_extractor
from histosynth.metrics.features import Features
from histosynth.metrics.memorization_audit import Patches, audit_memorization
from histosynth.metrics.morphology import Morphology, compare_morphology, concatenate, fit_pooled_stains, measure_images
from histosynth.metrics.uncertainty import patient_units
from histosynth.report.activations import Activations
from histosynth.report.comparison import compare_sides
from histosynth.report.sections.color.measure import measure_colors
from histosynth.report.sides import SIDES, plan
from histosynth.stain import StainFit
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.store import Store, write_manifest

HELD_OUT = "Case-4"

MEASURES = {  # title, format; in the order of the columns
    "frechet": ("Fréchet", ".1f"),
    "kernel": ("kernel", ".3f"),
    "precision": ("precision", ".2f"),
    "recall": ("recall", ".2f"),
    "density": ("density", ".2f"),
    "coverage": ("coverage", ".2f"),
    "color": ("color, OD", ".3f"),
    "stain": ("stain, OD", ".3f"),
    "nuclei": ("nuclei, sd", ".2f"),
    "copies": ("near copies", ".1%"),
    "authentic": ("authentic", ".2f"),
    "c_t": ("C_T", ".1f"),
    "recognized": ("recognized", ".2f"),
    "useful": ("useful", ".2f"),
    "own": ("own label nearest", ".2f"),
}
TABLES = (list(MEASURES)[:9], list(MEASURES)[9:])

QUICK = ("blur, sigma 2 px", "all of them copies")


class Measurements:
    """Features and nuclei of images; each image is measured once, whatever stores contain it."""

    def __init__(self, extractor: FeatureExtractor, stains: StainFit) -> None:
        self._extractor, self._stains = extractor, stains
        self._features: dict[bytes, NDArray[np.float32]] = {}
        self._nuclei: dict[bytes, Morphology] = {}

    def features(self, images: Images) -> NDArray[np.float32]:
        """Return the features of each image, (N, D)."""
        keys = [sha256(image.tobytes()).digest() for image in images]
        new = {key: i for i, key in enumerate(keys) if key not in self._features}
        if new:
            self._features |= dict(zip(new, self._extractor(images[list(new.values())]), strict=True))
        return np.stack([self._features[key] for key in keys])

    def nuclei(self, images: Images) -> Morphology:
        """Return the nuclei of all images together."""
        keys = [sha256(image.tobytes()).digest() for image in images]
        for key, image in zip(keys, images, strict=True):
            if key not in self._nuclei:
                self._nuclei[key] = measure_images(image[None], mpp=[MPP], fit=self._stains)
        return concatenate([self._nuclei[key] for key in keys])


def measure(real: Store, fake: Store, measurements: Measurements) -> dict[str, float]:
    """Compute every measure of the stand-in against the training patches (usefulness: against the held-out ones)."""
    # Features of the patches that a report compares.
    planned = plan(real=real, fake=fake, neighbors=3)
    rows = {s: {k: planned.sides[s].rows[k][: planned.n[k]] for k in planned.labels} for s in SIDES}
    images = {s: {k: planned.sides[s].store.images(r) for k, r in rows[s].items() if len(r)} for s in SIDES}
    outputs = {s: {k: {FEATURES: Features.of(measurements.features(x))} for k, x in images[s].items()} for s in SIDES}
    activations = Activations(plan=planned, outputs=outputs)
    # Distances, shares, colors and nuclei.
    results, row = compare_sides(activations, neighbors=3), measure_colors(planned, batch=64).overall
    comparison, matrix = results.overall["fake_vs_train"], results.matrices["fake_vs_train"]
    colors = row.pairs["fake_vs_train"]
    nuclei = {s: measurements.nuclei(np.concatenate([images[s][k] for k in planned.pooled])) for s in ("train", "fake")}
    nuclei_sd = [d.distance_sd for d in compare_morphology(nuclei["fake"], nuclei["train"]).values()]
    # Memorization, of all patches.
    sides = {}
    for name, store, split in (("train", real, "train"), ("held_out", real, "held_out"), ("fake", fake, None)):
        at, ids, patients = store.select(split=split), store.column("patch_id"), store.column("patient_id")
        sides[name] = Patches(
            ids=[ids[i] for i in at],
            images=lambda r, s=store, at=at: s.images(at[r]),
            features=measurements.features(store.images(at)),
            patients=[patients[i] for i in at],
        )
    copies = audit_memorization(**sides)
    return {
        "frechet": comparison.value("frechet_distance"),
        "kernel": comparison.value("kernel_distance"),
        **{name: comparison.value(name) for name in ("precision", "recall", "density", "coverage")},
        "color": colors.color_distance,
        "stain": colors.stain_distance,
        "nuclei": float(np.mean(nuclei_sd)),
        "copies": len(copies.copies) / copies.n_fake,
        "authentic": copies.synthetic.authenticity,
        "c_t": copies.synthetic.copying.c_t if copies.synthetic.copying else np.nan,
        **_labels(activations),
        "own": matrix.diagonal_lowest / matrix.rows,
    }


def _labels(activations: Activations) -> dict[str, float]:
    """Measure how well labels of the stand-in are recognized, and its use for training. Units are tiles, not cases."""
    rng, planned = np.random.default_rng(0), activations.plan
    sides = {}
    for name in SIDES:
        labels = [k for k in planned.labels if planned.usable(name, k) and planned.n[k]]
        tiles = planned.sides[name].store.column("slide_id")
        units = patient_units([tiles[i] for k in labels for i in activations.rows(name, k)])
        x = activations.of(name, labels)
        sides[name] = LabeledFeatures.of(x, activations.labels(labels), name=name, units=units)
    known = set(sides["fake"].labels.tolist())
    train, test = (_only(sides[name], known) for name in ("train", "held_out"))
    return {
        "recognized": measure_accuracy(fit_classifier(train, rng=rng), sides["fake"], rng=rng).balanced.value,
        "useful": measure_accuracy(fit_classifier(sides["fake"], rng=rng), test, rng=rng).balanced.value,
    }


def _only(side: LabeledFeatures, labels: set[str]) -> LabeledFeatures:
    keep = np.isin(side.labels, sorted(labels))
    units = patient_units([str(unit) for unit in side.units.index[keep]])
    return LabeledFeatures(name=side.name, features=side.features[keep], labels=side.labels[keep], units=units)


def write(directory: Path, patches: list[Patch], **manifest: object) -> Store:
    directory.mkdir(parents=True)
    write_part(part_path(directory, "one"), patches, fingerprint="sensitivity")
    write_manifest(directory, manifest)
    return Store(directory)


def direction(value: float, floor: NDArray[np.float64]) -> str:
    return "up" if value > floor.max() else "down" if value < floor.min() else "still"


def print_table(
    columns: list[str],
    rows: Mapping[str, dict[str, float]],
    *,
    unchanged: dict[str, float],
    floors: dict[str, NDArray[np.float64]],
) -> None:
    """Print Markdown: bold with an arrow if a measure changed, a cross if that was not expected."""
    form = {m: MEASURES[m][1] for m in columns}
    edges = [f"{format(floors[m].min(), form[m])} to {format(floors[m].max(), form[m])}" for m in columns]
    print("\n| | " + " | ".join(MEASURES[m][0] for m in columns) + " |")
    print("| --- |" + " --- |" * len(columns))
    print("| *no degradation: all halvings* | " + " | ".join(edges) + " |")
    values = [format(unchanged[m], form[m]) for m in columns]
    print("| *no degradation: the halving below* | " + " | ".join(values) + " |")
    for name, row in rows.items():
        cells = []
        for m in columns:
            change = direction(row[m], floors[m])
            text = format(row[m], form[m])
            cell = {"up": f"**{text} ↑**", "down": f"**{text} ↓**", "still": text}[change]
            cells.append(cell + (" ✗" if EXPECTED[name].get(m, change) != change else ""))
        print(f"| {name} | " + " | ".join(cells) + " |")


def check_expectations(
    rows: Mapping[str, dict[str, float]], floors: dict[str, NDArray[np.float64]]
) -> list[tuple[str, str, bool]]:
    return [(d, m, direction(rows[d][m], floors[m]) == change) for d in rows for m, change in EXPECTED[d].items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="two degradations, few patches, two halvings")
    parser.add_argument("--weights", type=Path, help="weights of Inception, to use its features")
    options = parser.parse_args()
    started = time.perf_counter()
    extractor = build_extractor(
        "inception" if options.weights else "efficientnet-lite0", device="cpu", weights=options.weights
    )
    # Crops of tiles: training, held out, and another organ.
    ground = tiles(options.data / "osteosarcoma_10x", case="case")
    organ = [] if options.quick else tiles(options.data / "lc25000_768", case="group", per_class=8)
    training = [t for t in ground if t.case != HELD_OUT]
    few, halvings = (2, 2) if options.quick else (15, 10)
    stains = fit_pooled_stains(t.crops[:few] for t in training)
    held_out = []
    for label in sorted({t.label for t in ground}):
        own = [t for t in ground if t.case == HELD_OUT and t.label == label]
        held_out += [p for t in own for p in t.patches(slice(7 * few // len(own) + 1), source="real", split="held_out")]
    # Measure halvings of the unchanged tissue, then each degradation of the first.
    measurements, floor, rows = Measurements(extractor, stains), [], {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(halvings):
            one, other = halves(training, seed=seed)
            train = [p for t in one for p in t.patches(slice(few), source="real", split="train")]
            stand_in = [p for t in other for p in t.patches(slice(few), source="fake")]
            real = write(Path(folder) / f"real-{seed}", train + held_out)
            floor.append(measure(real, write(Path(folder) / f"none-{seed}", stand_in, synthetic=True), measurements))
            print(f"halving {seed}, {time.perf_counter() - started:.0f} s", file=sys.stderr)
            if seed == 0:
                first, degraded = real, degradations(stand_in, half=other, train=train, organ=organ, stains=stains)
                n = plan(real=real, fake=Store(Path(folder) / "none-0"), neighbors=3).n
        for number, name in enumerate(QUICK if options.quick else EXPECTED):
            rows[name] = measure(
                first, write(Path(folder) / f"degraded-{number}", degraded[name](), synthetic=True), measurements
            )
            print(f"{name}, {time.perf_counter() - started:.0f} s", file=sys.stderr)
    # Print the tables, and what was not as expected.
    floors = {m: np.array([values[m] for values in floor], dtype=np.float64) for m in MEASURES}
    for columns in TABLES:
        print_table(columns, rows, unchanged=floor[0], floors=floors)
    checks = check_expectations(rows, floors)
    print("\nnot as expected:")
    for name, m, holds in checks:
        if not holds:
            change = direction(rows[name][m], floors[m])
            print(f"  {name}: {MEASURES[m][0]} should be {EXPECTED[name][m]}, is {change}")
    # Summarize.
    ratio = float(np.mean([h for *_, h in checks]))
    shares = [
        np.mean([h for *_, h in check_expectations(rows, {m: np.delete(x, i) for m, x in floors.items()})])
        for i in range(halvings)
    ]
    result = {
        "name": "sensitivity",
        "ratio": round(ratio, 3),
        "low": round(float(min(shares)), 3),
        "high": round(float(max(ratio, *shares)), 3),
        "unit": "share of expectations that hold",
        "expectations": len(checks),
        "extractor": extractor.name,
        "n": sum(n.values()),
        "halvings": halvings,
        "seconds": round(time.perf_counter() - started),
        "processor_seconds": round(time.process_time()),
        "unchanged": {m: round(float(v), 4) for m, v in floor[0].items()},
        "floor": {m: [round(float(x.min()), 4), round(float(x.max()), 4)] for m, x in floors.items()},
        "rows": {name: {m: round(float(v), 4) for m, v in row.items()} for name, row in rows.items()},
        "not_as_expected": [[name, m] for name, m, holds in checks if not holds],
    }
    print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    main()
