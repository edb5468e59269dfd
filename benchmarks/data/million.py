"""Measure memory and time of a store of a million patches: open, decode into a file, draw batches, train and sample.

The script writes a store of tiny patches (8 px of noise) in parts of ten thousand. Each stage then runs in a separate
process: open the store and read the columns that training needs (labels, split, patients, content hash); decode it into
a file; draw batches distributed over the whole order; draw batches without that file; train a tiny network for ten
steps; sample as many patches as the store has. It prints the peak of memory (RSS) of each stage, first for a tenth of
the patches, to show what grows with their number; the import of PyTorch, which most stages need, is a stage of its own.
It takes about twenty minutes on one core, mostly for sampling; `--keep DIR` keeps the store, `--quick` uses a hundredth
of the patches. The last line is JSON.

    .venv/bin/python benchmarks/data/million.py [--patches 1000000] [--keep DIR] [--quick]
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PX = 8
PART = 10_000
BATCHES = 300
TINY = (
    "model.channels=8", "model.channel_mult=[1]", "model.blocks=1", "model.attention_px=[]", "model.heads=1",
    "train.images=640", "train.batch=64", "train.trackers=[]",
)  # fmt: skip


def write_store(directory: Path, count: int) -> None:
    from histosynth.store.part import Patch, part_path, write_part
    from histosynth.store.store import write_manifest

    directory.mkdir(parents=True, exist_ok=True)
    for part in range(count // PART):
        path, rng = part_path(directory, f"{part:05d}"), np.random.default_rng(part)
        if path.exists():
            continue
        images = rng.integers(0, 256, (PART, PX, PX, 3), dtype=np.uint8)
        rows = (
            Patch(
                patch_id=f"slide{part}_{n}", slide_id=f"slide{part}", patient_id=f"patient{part // 2}", image=image,
                source="real", label=("IDHwt", "IDHmut-codel", "IDHmut-noncodel")[n % 7 % 3], mpp=1.0, tissue=0.9,
                split="train" if (part + 1) % 5 else "held_out", x=n, y=part, extent=512, stain="raw",
            )
            for n, image in enumerate(images)
        )  # fmt: skip
        write_part(path, rows, fingerprint="benchmark")
    write_manifest(directory, {})


def imports(_store: Path, _cache: Path) -> None:
    import histosynth.training.data.dataset  # noqa: F401


def opening(store: Path, _cache: Path) -> None:
    from histosynth.store.store import Store

    opened = Store(store)
    opened.labels, opened.select(split="train"), opened.codes("patient_id"), opened.content_hash()


def decoding(store: Path, cache: Path) -> None:
    from histosynth.store.store import Store
    from histosynth.training.data.pixel_cache import PixelCache

    PixelCache(Store(store), directory=cache, image_px=PX, limit_gb=100)


def drawing(store: Path, cache: str) -> None:
    from histosynth.store.store import Store
    from histosynth.training.data.dataset import PatchDataset

    data = PatchDataset(Store(store), balance=True, weights={"IDHwt": 2.0}, cache=cache)
    for n in range(BATCHES):
        data.batch(n * 1_000_003, 64, seed=0)


def training(store: Path, cache: Path) -> None:
    from histosynth.config import load_settings
    from histosynth.training.loop import train

    settings = load_settings(None, overrides=[*TINY, f"train.cache={cache}"])
    train(store, out=_run(store, cache), settings=settings, device="cpu", progress=False)


def sampling(store: Path, cache: Path) -> None:
    from histosynth.config import SampleSettings
    from histosynth.sampling.generate import generate
    from histosynth.store.store import Store

    settings = SampleSettings(sampler="ddim", steps=1, batch=256)
    per_label = -(-len(Store(store)) // 3)
    out = cache / f"samples of {store.name}"
    generate(_run(store, cache), out=out, settings=settings, per_label=per_label, device="cpu", progress=False)


def _run(store: Path, cache: Path) -> Path:
    return cache / f"run of {store.name}"


STAGES: dict[str, Callable[[Path, Path], None]] = {
    "import PyTorch": imports,
    "open, columns, hash": opening,
    "decode into a file": decoding,
    "draw 300 batches of 64": lambda store, cache: drawing(store, str(cache)),
    "draw them without the file": lambda store, _: drawing(store, "off"),
    "train for 10 steps": training,
    "sample as many": sampling,
}


def measure(stage: str, store: Path, cache: Path) -> dict[str, float]:
    """Return seconds and peak MB of a stage in a separate process."""
    command = [sys.executable, __file__, "--stage", stage, "--keep", str(store), "--cache", str(cache)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patches", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        started = time.perf_counter()
        STAGES[arguments.stage](arguments.keep, arguments.cache)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": round(time.perf_counter() - started, 2), "peak_mb": round(peak)}))
        return
    largest = PART if arguments.quick else arguments.patches
    facts: dict[str, Any] = {"name": "million"}
    with tempfile.TemporaryDirectory() as folder:
        for count in sorted({max(largest // 10 // PART, 1) * PART, largest}):
            store = (arguments.keep or Path(folder)) / f"store-{count}"
            write_store(store, count)
            print(f"{count} patches, {sum(p.stat().st_size for p in store.iterdir()) / 1e6:.0f} MB in the store")
            print(f"  pixels {count * 3 * PX**2 / 1e6:.0f} MB")
            for stage in STAGES:
                result = facts[f"{stage}, {count}"] = measure(stage, store, Path(folder) / "cache")
                print(f"  {stage:<28} {result['seconds']:7.1f} s   peak {result['peak_mb']:6.0f} MB", flush=True)
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
