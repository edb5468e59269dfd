"""Does each measure of a report move the right way? Tissue spoiled in known ways, in the place of synthetic patches.

Needs `osteosarcoma_10x` (see `osteosarcoma.py`) and `lc25000_768` (fields of colon and lung) under DIR, each with
`images/` and `labels.csv`. Crops of 128 px at 1 um/px; Case-4 is held out. The tiles of the other cases are halved at
random, class by class: one half is the training set, the other stands in for synthetic patches, as an ideal generator
would draw them: new tissue of patients that it has seen. (No half by patient is possible: two classes are of one case
each.) Each way of spoiling is applied to the same stand-in, and everything is measured by the functions that the report
uses, synthetic against training patches. A measure has moved where it lies outside what ten halvings of the unspoiled
tiles give. What should move, and where, stands in `EXPECTED`, written down before anything was measured.

    .venv/bin/python benchmarks/metrics/sensitivity.py --data DIR [--quick] [--weights FILE]

Seven minutes of one core, less than one with `--quick`, which shows that it runs. `--weights`: Inception's, for FID, in
the place of EfficientNet-Lite0. Prints the tables of `docs/how-to/evidence.md`; the last line is JSON: `ratio` is the
share of expectations that hold, `low` and `high` the least and the largest where one of the halvings is left out.
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
from numpy.typing import NDArray
from spoiled_tissue import MPP, Images, halves, spoiled, tiles

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
"""Of each way of spoiling: what should move up or down, and what should stay still."""
QUICK = ("blur, sigma 2 px", "labels shuffled", "all of them copies")


class Looker:
    """Features and nuclei of images, each image looked at once whatever store it stands in."""

    def __init__(self, extractor: FeatureExtractor, stains: StainFit) -> None:
        self._extractor, self._stains = extractor, stains
        self._features: dict[bytes, NDArray[np.float32]] = {}
        self._nuclei: dict[bytes, Morphology] = {}

    def features(self, images: Images) -> NDArray[np.float32]:
        """Of each image, (N, D)."""
        keys = [sha256(image.tobytes()).digest() for image in images]
        new = {key: i for i, key in enumerate(keys) if key not in self._features}
        if new:
            self._features |= dict(zip(new, self._extractor(images[list(new.values())]), strict=True))
        return np.stack([self._features[key] for key in keys])

    def nuclei(self, images: Images) -> Morphology:
        """Of all images together."""
        keys = [sha256(image.tobytes()).digest() for image in images]
        for key, image in zip(keys, images, strict=True):
            if key not in self._nuclei:
                self._nuclei[key] = measure_images(image[None], mpp=[MPP], fit=self._stains)
        return concatenate([self._nuclei[key] for key in keys])


def measure(real: Store, fake: Store, look: Looker) -> dict[str, float]:
    """Every measure of the stand-in against the training patches (usefulness: against the held-out ones)."""
    planned = plan(real=real, fake=fake, neighbors=3)
    rows = {s: {k: planned.sides[s].rows[k][: planned.n[k]] for k in planned.labels} for s in SIDES}
    images = {s: {k: planned.sides[s].store.images(r) for k, r in rows[s].items() if len(r)} for s in SIDES}
    outputs = {s: {k: {FEATURES: Features.of(look.features(x))} for k, x in images[s].items()} for s in SIDES}
    activations = Activations(plan=planned, outputs=outputs)
    figures, row = compare_sides(activations, neighbors=3), measure_colors(planned, batch=64).overall
    found, matrix = figures.overall["fake_vs_train"], figures.matrices["fake_vs_train"]
    colors = row.pairs["fake_vs_train"]
    nuclei = {s: look.nuclei(np.concatenate([images[s][k] for k in planned.pooled])) for s in ("train", "fake")}
    apart = [d.distance_sd for d in compare_morphology(nuclei["fake"], nuclei["train"]).values()]
    every = {s: store.select(split=split) for s, store, split in
             (("train", real, "train"), ("held_out", real, "held_out"), ("fake", fake, None))}  # fmt: skip
    sides = {}
    for name, store in (("train", real), ("held_out", real), ("fake", fake)):
        at, ids, patients = every[name], store.column("patch_id"), store.column("patient_id")
        sides[name] = Patches(ids=[ids[i] for i in at], images=lambda r, s=store, at=at: s.images(at[r]),
                              features=look.features(store.images(at)), patients=[patients[i] for i in at])  # fmt: skip
    copies = audit_memorization(**sides)
    return {
        "frechet": found.value("frechet_distance"),
        "kernel": found.value("kernel_distance"),
        **{name: found.value(name) for name in ("precision", "recall", "density", "coverage")},
        "color": colors.color_distance,
        "stain": colors.stain_distance,
        "nuclei": float(np.mean(apart)),
        "copies": len(copies.copies) / copies.n_fake,
        "authentic": copies.synthetic.authenticity,
        "c_t": copies.synthetic.copying.c_t if copies.synthetic.copying else np.nan,
        **_labels(activations),
        "own": matrix.diagonal_lowest / matrix.rows,
    }


def _labels(activations: Activations) -> dict[str, float]:
    """Whether labels are recognized in the stand-in, and whether it teaches them. Tiles, not cases, are the units."""
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


def moved(value: float, floor: NDArray[np.float64]) -> str:
    return "up" if value > floor.max() else "down" if value < floor.min() else "still"


def print_table(
    columns: list[str],
    rows: Mapping[str, dict[str, float]],
    *,
    unspoiled: dict[str, float],
    floors: dict[str, NDArray[np.float64]],
) -> None:
    """Markdown: bold with an arrow what has moved, a cross where that is not as expected."""
    form = {m: MEASURES[m][1] for m in columns}
    edges = [f"{format(floors[m].min(), form[m])} to {format(floors[m].max(), form[m])}" for m in columns]
    print("\n| | " + " | ".join(MEASURES[m][0] for m in columns) + " |")
    print("| --- |" + " --- |" * len(columns))
    print("| *nothing: all halvings* | " + " | ".join(edges) + " |")
    print("| *nothing: the halving below* | " + " | ".join(format(unspoiled[m], form[m]) for m in columns) + " |")
    for name, row in rows.items():
        cells = []
        for m in columns:
            way = moved(row[m], floors[m])
            text = format(row[m], form[m])
            shown = {"up": f"**{text} ↑**", "down": f"**{text} ↓**", "still": text}[way]
            cells.append(shown + (" ✗" if EXPECTED[name].get(m, way) != way else ""))
        print(f"| {name} | " + " | ".join(cells) + " |")


def holding(
    rows: Mapping[str, dict[str, float]], floors: dict[str, NDArray[np.float64]]
) -> list[tuple[str, str, bool]]:
    return [(d, m, moved(rows[d][m], floors[m]) == way) for d in rows for m, way in EXPECTED[d].items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="three ways of spoiling, few patches, three halvings")
    parser.add_argument("--weights", type=Path, help="of Inception, to measure by its features")
    given = parser.parse_args()
    started = time.perf_counter()
    extractor = build_extractor(
        "inception" if given.weights else "efficientnet-lite0", device="cpu", weights=given.weights
    )
    ground = tiles(given.data / "osteosarcoma_10x", case="case")
    organ = [] if given.quick else tiles(given.data / "lc25000_768", case="group", per_class=8)
    training = [t for t in ground if t.case != HELD_OUT]
    few, halvings = (3, 3) if given.quick else (15, 10)
    stains = fit_pooled_stains(t.crops[:few] for t in training)
    held_out = []
    for label in sorted({t.label for t in ground}):
        own = [t for t in ground if t.case == HELD_OUT and t.label == label]
        held_out += [p for t in own for p in t.patches(slice(7 * few // len(own) + 1), source="real", split="held_out")]
    look, floor, rows = Looker(extractor, stains), [], {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(halvings):
            one, other = halves(training, seed=seed)
            train = [p for t in one for p in t.patches(slice(few), source="real", split="train")]
            stand_in = [p for t in other for p in t.patches(slice(few), source="fake")]
            real = write(Path(folder) / f"real-{seed}", train + held_out)
            floor.append(measure(real, write(Path(folder) / f"none-{seed}", stand_in, synthetic=True), look))
            print(f"halving {seed}, {time.perf_counter() - started:.0f} s", file=sys.stderr)
            if seed == 0:
                first, ways = real, spoiled(stand_in, half=other, train=train, organ=organ, stains=stains)
                n = plan(real=real, fake=Store(Path(folder) / "none-0"), neighbors=3).n
        for number, name in enumerate(QUICK if given.quick else EXPECTED):
            rows[name] = measure(first, write(Path(folder) / f"spoiled-{number}", ways[name](), synthetic=True), look)
            print(f"{name}, {time.perf_counter() - started:.0f} s", file=sys.stderr)
    floors = {m: np.array([values[m] for values in floor], dtype=np.float64) for m in MEASURES}
    for columns in TABLES:
        print_table(columns, rows, unspoiled=floor[0], floors=floors)
    found = holding(rows, floors)
    print("\nnot as expected:")
    for name, m, holds in found:
        if not holds:
            way = moved(rows[name][m], floors[m])
            print(f"  {name}: {MEASURES[m][0]} should be {EXPECTED[name][m]}, is {way}")
    ratio = float(np.mean([h for *_, h in found]))
    shares = [
        np.mean([h for *_, h in holding(rows, {m: np.delete(x, i) for m, x in floors.items()})])
        for i in range(halvings)
    ]
    result = {
        "name": "sensitivity",
        "ratio": round(ratio, 3),
        "low": round(float(min(shares)), 3),
        "high": round(float(max(ratio, *shares)), 3),
        "unit": "share of expectations that hold",
        "expectations": len(found),
        "extractor": extractor.name,
        "n": sum(n.values()),
        "halvings": halvings,
        "seconds": round(time.perf_counter() - started),
        "processor_seconds": round(time.process_time()),
        "unspoiled": {m: round(float(v), 4) for m, v in floor[0].items()},
        "floor": {m: [round(float(x.min()), 4), round(float(x.max()), 4)] for m, x in floors.items()},
        "rows": {name: {m: round(float(v), 4) for m, v in row.items()} for name, row in rows.items()},
        "not_as_expected": [[name, m] for name, m, holds in found if not holds],
    }
    print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    main()
