"""A million patches: what memory and time it takes to open a store, to keep its pixels decoded, and to draw batches.

Makes a store of tiny patches (8 px of noise) in parts of ten thousand, then in a process of its own each: opens it and
reads what training asks (labels, split, patients, content hash), decodes it into a file, draws batches from all over
the order, draws batches without that file, trains a tiny network for ten steps, and samples as many patches as the
store has. Prints the peak of memory (RSS) of each, first for a tenth of the patches, so that what grows with their
number is seen; drawing needs PyTorch, whose import alone stands beside it. About twenty minutes of one core, most
of it to sample; `--keep DIR` keeps the store, `--quick` takes a hundredth. The last line is JSON.

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


def draw(directory: Path, count: int) -> None:
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


def imports(_store: Path, _kept: Path) -> None:
    import histosynth.training.data.dataset  # noqa: F401


def opening(store: Path, _kept: Path) -> None:
    from histosynth.store.store import Store

    opened = Store(store)
    opened.labels, opened.select(split="train"), opened.codes("patient_id"), opened.content_hash()


def decoding(store: Path, kept: Path) -> None:
    from histosynth.store.store import Store
    from histosynth.training.data.pixel_cache import PixelCache

    PixelCache(Store(store), directory=kept, image_px=PX, limit_gb=100)


def drawing(store: Path, cache: str) -> None:
    from histosynth.store.store import Store
    from histosynth.training.data.dataset import PatchDataset

    data = PatchDataset(Store(store), balance=True, weights={"IDHwt": 2.0}, cache=cache)
    for n in range(BATCHES):
        data.batch(n * 1_000_003, 64, seed=0)


def training(store: Path, kept: Path) -> None:
    from histosynth.config import load_settings
    from histosynth.training.loop import train

    settings = load_settings(None, overrides=[*TINY, f"train.cache={kept}"])
    train(store, out=_run(store, kept), settings=settings, device="cpu", progress=False)


def sampling(store: Path, kept: Path) -> None:
    from histosynth.config import SampleSettings
    from histosynth.sampling.generate import generate
    from histosynth.store.store import Store

    settings = SampleSettings(sampler="ddim", steps=1, batch=256)
    per_label = -(-len(Store(store)) // 3)
    out = kept / f"samples of {store.name}"
    generate(_run(store, kept), out=out, settings=settings, per_label=per_label, device="cpu", progress=False)


def _run(store: Path, kept: Path) -> Path:
    return kept / f"run of {store.name}"


STAGES: dict[str, Callable[[Path, Path], None]] = {
    "import PyTorch": imports,
    "open, columns, hash": opening,
    "decode into a file": decoding,
    "draw 300 batches of 64": lambda store, kept: drawing(store, str(kept)),
    "draw them without the file": lambda store, _: drawing(store, "off"),
    "train for 10 steps": training,
    "sample as many": sampling,
}


def measure(stage: str, store: Path, kept: Path) -> dict[str, float]:
    """Seconds and peak MB of a stage in a process of its own."""
    command = [sys.executable, __file__, "--stage", stage, "--keep", str(store), "--kept", str(kept)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patches", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--kept", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stage:
        started = time.perf_counter()
        STAGES[given.stage](given.keep, given.kept)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": round(time.perf_counter() - started, 2), "peak_mb": round(peak)}))
        return
    most = PART if given.quick else given.patches
    facts: dict[str, Any] = {"name": "million"}
    with tempfile.TemporaryDirectory() as folder:
        for count in sorted({max(most // 10 // PART, 1) * PART, most}):
            store = (given.keep or Path(folder)) / f"store-{count}"
            draw(store, count)
            print(f"{count} patches, {sum(p.stat().st_size for p in store.iterdir()) / 1e6:.0f} MB in the store")
            print(f"  pixels {count * 3 * PX**2 / 1e6:.0f} MB")
            for stage in STAGES:
                found = facts[f"{stage}, {count}"] = measure(stage, store, Path(folder) / "kept")
                print(f"  {stage:<28} {found['seconds']:7.1f} s   peak {found['peak_mb']:6.0f} MB", flush=True)
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
