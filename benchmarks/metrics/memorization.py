"""Authenticity and C_T of real patches and of deliberate copies, by the report itself, and why they need controls.

Needs a patch store of real patches with held-out patients. Writes sample stores of real patches, evaluates each with
`evaluate` as `histosynth evaluate` does, and prints the section on memorization: for training patches that were
mirrored and compressed as JPEG, among them patches that are not in the main results; for half of the held-out patches
against the other half; for training patches that were taken out of the training set, with copies of others mixed in;
and for the two controls. Takes some minutes on one idle core for 4,000 patches; `--quick` uses few patches and copies,
and one of the four mixtures. The last line is JSON.

    .venv/bin/python benchmarks/metrics/memorization.py STORE [--quick]
"""

import argparse
import json
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histosynth.config import EvaluateSettings
from histosynth.report.build import evaluate
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.store import Store, write_manifest

Rows = NDArray[np.int64]


def copied(patch: NDArray[np.uint8]) -> NDArray[np.uint8]:
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(patch[:, ::-1])).save(buffer, format="JPEG", quality=50)
    return np.asarray(Image.open(buffer))


class Evaluation:
    """Stores made from the rows of one store, and their reports; the features of equal stores are cached."""

    def __init__(self, store: Store, directory: Path) -> None:
        self.store, self.directory, self.written = store, directory, 0
        self.columns = {name: store.column(name) for name in ("label", "patient_id")}

    def write(self, images: NDArray[np.uint8], rows: Rows, *, splits: list[str] | None = None) -> Store:
        """Write images with the labels of these rows: real patches with their splits, or a sample store."""
        self.written += 1
        directory = self.directory / f"store-{self.written}"
        directory.mkdir()
        label, patient = self.columns["label"], self.columns["patient_id"]
        patches = [
            Patch(
                patch_id=f"{i}", image=image, label=label[row], mpp=1.0, source="real" if splits else "benchmark",
                split=splits[i] if splits else None, patient_id=patient[row] if splits else None,
            )
            for i, (image, row) in enumerate(zip(images, rows, strict=True))
        ]  # fmt: skip
        write_part(part_path(directory, "one"), patches, fingerprint="benchmark")
        write_manifest(directory, {} if splits else {"synthetic": True, "train_split": "train"})
        return Store(directory)

    def real(self, train: Rows, held_out: Rows) -> Store:
        """Write the real patches of these rows."""
        rows = np.concatenate([train, held_out])
        splits = ["train"] * len(train) + ["held_out"] * len(held_out)
        return self.write(self.store.images(rows), rows, splits=splits)

    def measure(self, real: Store, fake: Store) -> dict[str, Any]:
        """Return the section on memorization of a report on both stores."""
        settings = EvaluateSettings(
            extractor="efficientnet-lite0", cache=str(self.directory / "cache"), sections=("memorization",)
        )
        content = evaluate(real=real, fake=fake, out=self.directory / "report", settings=settings)
        section: dict[str, Any] = content["memorization"]
        return section


def print_closeness(name: str, closeness: dict[str, Any]) -> None:
    text = f"{name:<45} n {closeness['n']:>5} of {closeness['n_train']:>6}, authentic {closeness['authenticity']:.3f}"
    if closeness["copying"]:
        text += f", C_T {closeness['copying']['c_t']:6.1f}, nearer {closeness['copying']['nearer']:.2f}"
    print(text, closeness["note"] or "", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--quick", action="store_true", help="80 patches per split, 25 copies, one mixture")
    options = parser.parse_args()
    store, rng = Store(options.store), np.random.default_rng(0)
    n, (train, held_out) = 500, (rng.permutation(store.select(split=split)) for split in ("train", "held_out"))
    if options.quick:
        n, train, held_out = 25, train[:80], held_out[:80]
    chosen, left_out = train[:n], train[n : 2 * n]
    rest = np.concatenate([chosen, train[2 * n :]])
    copies = np.stack([copied(patch) for patch in store.images(chosen)])
    results = {}
    with tempfile.TemporaryDirectory() as directory:
        evaluation = Evaluation(store, Path(directory))
        # Copies against the whole store, and its controls.
        whole = evaluation.real(train, held_out)
        section = evaluation.measure(whole, evaluation.write(copies, chosen))
        results[f"{n} copies"] = section["synthetic"]
        results["control, left-out patients"] = section["left_out_patients"]
        results["control, left-out patches"] = section["left_out_patches"]
        # Held-out patches against other held-out patches.
        half = evaluation.write(store.images(held_out[::2]), held_out[::2])
        section = evaluation.measure(evaluation.real(train, held_out[1::2]), half)
        results["half of the held-out, against the other"] = section["synthetic"]
        # Patches that were taken out, with copies of others mixed in.
        without, images = evaluation.real(rest, held_out), store.images(left_out)
        for count in (n // 2,) if options.quick else (0, n // 10, n // 5, n // 2):
            mixed = evaluation.write(
                np.concatenate([copies[:count], images[count:]]), np.concatenate([chosen[:count], left_out[count:]])
            )
            section = evaluation.measure(without, mixed)
            results[f"left-out patches, {count} of them now copies"] = section["synthetic"]
    for name, closeness in results.items():
        print_closeness(name, closeness)
    print(json.dumps({"name": "memorization", "results": results}))


if __name__ == "__main__":
    main()
