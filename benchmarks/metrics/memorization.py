"""Authenticity and C_T of real patches and of deliberate copies, which show why these measures need controls.

Needs a patch store of real patches with held-out patients. Prints both measures for 500 training patches that were
mirrored and compressed as JPEG; for half of the held-out patches against the other half; for the two controls; and for
the control of left-out patches with copies mixed in. Takes about four minutes on one core for 4,000 patches; `--quick`
uses few patches and a tenth of the copies. The last line is JSON.

    .venv/bin/python benchmarks/metrics/memorization.py STORE [--quick]
"""

import argparse
import json
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from histosynth.metrics.extraction import extract_features
from histosynth.metrics.extractors import extractors
from histosynth.metrics.memorization import Closeness, measure_closeness, measure_controls
from histosynth.store.store import Store


def copied(patch: NDArray[np.uint8]) -> NDArray[np.uint8]:
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(patch[:, ::-1])).save(buffer, format="JPEG", quality=50)
    return np.asarray(Image.open(buffer))


def print_closeness(name: str, closeness: Closeness) -> None:
    text = f"{name:<42} n {closeness.n:>5}, authentic {closeness.authenticity:.2f}" if closeness.n else name
    if closeness.copying:
        text += f", C_T {closeness.copying.c_t:6.1f}, nearer {closeness.copying.nearer:.2f}"
    print(text, closeness.note or "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--quick", action="store_true", help="200 patches per split, 50 copies")
    options = parser.parse_args()
    store, rng = Store(options.store), np.random.default_rng(0)
    extractor = extractors["efficientnet-lite0"](None)
    n, splits = 500, [store.select(split=split) for split in ("train", "held_out")]
    if options.quick:
        n, splits = 50, [rows[:: -(-len(rows) // 200)] for rows in splits]
    # Features of both splits, and of copies of some training patches.
    with tqdm(total=sum(map(len, splits)), unit="img") as bar:
        train, held_out = (
            extract_features(store, r, extractor=extractor, batch=64, progress=bar).values for r in splits
        )
    rows = splits[0]
    order = rng.permutation(len(rows))
    chosen, left_out = order[:n], order[n : 2 * n]
    copies = np.concatenate(
        [extractor(np.stack([copied(p) for p in store.images(rows[chosen[i : i + 50]])])) for i in range(0, n, 50)]
    )
    # Measure them, the controls, and mixtures.
    patients = store.column("patient_id")
    by_patient, by_patch = measure_controls(held_out, train, patients=[patients[row] for row in rows], n=n)
    results = {
        f"{n} copies": measure_closeness(copies, held_out, train),
        "half of the held-out, against the other": measure_closeness(held_out[::2], held_out[1::2], train),
        "control, left-out patients": by_patient,
        "control, left-out patches": by_patch,
    }
    rest = np.delete(train, left_out, axis=0)
    for count in (0, n // 10, n // 5, n // 2):
        mixed = np.concatenate([train[left_out][count:], copies[:count]])
        results[f"left-out patches, {count} of them now copies"] = measure_closeness(mixed, held_out, rest)
    for name, closeness in results.items():
        print_closeness(name, closeness)
    print(json.dumps({"name": "memorization", "results": {name: asdict(one) for name, one in results.items()}}))


if __name__ == "__main__":
    main()
