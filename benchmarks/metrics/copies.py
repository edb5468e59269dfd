"""Search for near copies in pixels: share of copies found, false alarms on tissue of other patients, and cost.

Needs a patch store of real patches with held-out patients, such as one from `histosynth pack --crop 128`. Prints the
similarity that held-out patches reach with training patches of other patients; then, for copies planted by modifying
training patches in many ways, the share found (with the correct original, at the threshold); last, time and memory for
the requested number of patches (those of the store, shifted at random). Takes about a minute on one core for 4,000
patches, and another for the last part; `--quick` uses few patches and few copies. The last line is JSON.

    .venv/bin/python benchmarks/metrics/copies.py STORE [--planted 300] [--train 30000 --fake 10000] [--quick]
"""

import argparse
import json
import resource
import time
from collections.abc import Callable
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from histosynth.metrics.copies import calibrate_threshold, compute_textures, find_copies, match_patches
from histosynth.store.store import Store

Patch = NDArray[np.uint8]


def clipped(values: NDArray[np.float64]) -> Patch:
    return np.clip(values, 0, 255).astype(np.uint8)


def jpeg(patch: Patch, quality: int) -> Patch:
    buffer = BytesIO()
    Image.fromarray(patch).save(buffer, format="JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def shifted(patch: Patch, dy: int, dx: int) -> Patch:
    padded = np.pad(patch, ((16, 16), (16, 16), (0, 0)), mode="reflect")
    return padded[16 + dy : 16 + dy + len(patch), 16 + dx : 16 + dx + len(patch)]


def cropped(patch: Patch, px: int) -> Patch:
    inner = Image.fromarray(patch[px:-px, px:-px])
    return np.asarray(inner.resize(patch.shape[:2], Image.Resampling.BICUBIC))


def kinds(rng: np.random.Generator) -> dict[str, Callable[[Patch], Patch]]:
    def noisy(patch: Patch, sigma: float) -> Patch:
        return clipped(patch + rng.normal(0, sigma, patch.shape))

    return {
        "exact": lambda p: p,
        "mirrored": lambda p: p[:, ::-1],
        "rotated": lambda p: np.rot90(p),
        "JPEG of quality 30": lambda p: jpeg(p, 30),
        "blurred, sigma 1 px": lambda p: ndimage.gaussian_filter(p, (1, 1, 0)),
        "blurred, sigma 2 px": lambda p: ndimage.gaussian_filter(p, (2, 2, 0)),
        "brighter by 20": lambda p: clipped(p + 20.0),
        "darker by 30": lambda p: clipped(p - 30.0),
        "other tint": lambda p: clipped(p * np.array([1.1, 0.9, 1.05]) + [5, -8, 3]),
        "density times 1.3": lambda p: clipped(240 * (p / 240) ** 1.3),
        "shifted down by 1/16 of the side": lambda p: shifted(p, len(p) // 16, 0),
        "shifted left by 1/16": lambda p: shifted(p, 0, len(p) // 16),
        "shifted diagonally by 1/16": lambda p: shifted(p, -len(p) // 16, len(p) // 16),
        "shifted diagonally by 1/32": lambda p: shifted(p, len(p) // 32, -len(p) // 32),
        "rotated, shifted diagonally by 1/16": lambda p: shifted(np.rot90(p), len(p) // 16, len(p) // 16),
        "shifted diagonally by 3/32": lambda p: shifted(p, 3 * len(p) // 32, 3 * len(p) // 32),
        "cropped by 1/32 at each border, resized": lambda p: cropped(p, len(p) // 32),
        "cropped by 1/16": lambda p: cropped(p, len(p) // 16),
        "cropped by 3/32": lambda p: cropped(p, 3 * len(p) // 32),
        "noise, sigma 10": lambda p: noisy(p, 10),
        "noise, sigma 20": lambda p: noisy(p, 20),
        "rotated, shifted, dimmed, noise 5, JPEG 50": lambda p: jpeg(
            noisy(shifted(np.rot90(p)[::-1], len(p) // 64, len(p) // 42) * 0.95, 5), 50
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--planted", type=int, default=300)
    parser.add_argument("--train", type=int, default=0)
    parser.add_argument("--fake", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="500 patches per split, 30 planted")
    options = parser.parse_args()
    store, rng = Store(options.store), np.random.default_rng(0)
    rows = {split: store.select(split=split) for split in ("train", "held_out")}
    if options.quick:
        options.planted = 30
        rows = {split: at[:: -(-len(at) // 500)] for split, at in rows.items()}
    # Similarities of held-out patches.
    sides = {split: compute_textures(lambda r, at=at: store.images(at[r]), len(at)) for split, at in rows.items()}
    train, held_out = sides["train"], sides["held_out"]
    plain = {"train": (~train.can_be_copied).mean(), "held_out": (~held_out.can_be_compared).mean()}
    print(f"{options.store.name}: {len(train)} training patches ({plain['train']:.1%} plain),", end=" ")
    print(f"{len(held_out)} held-out ones ({plain['held_out']:.1%} plain)")
    reached = np.nanquantile(match_patches(held_out, train).similarity, [0.5, 0.9, 0.99, 0.999, 1]).round(3)
    print("similarity of held-out patches, 50, 90, 99, 99.9, 100 %:", reached)
    threshold = calibrate_threshold(held_out, train)
    print(threshold)
    # Plant copies and search for them.
    planted = rng.permutation(np.flatnonzero(train.can_be_copied))[: options.planted]
    originals, shares = store.images(rows["train"][planted]), {}
    for name, change in kinds(rng).items():
        changed = np.stack([np.ascontiguousarray(change(p)) for p in originals])
        matches = match_patches(compute_textures(lambda r, c=changed: c[r], len(changed)), train)
        copies = find_copies(matches, threshold=threshold.value)
        right = [c.similarity for c in copies if planted[c.fake_row] == c.train_row]
        shares[name] = len(right) / len(planted)
        similarities = f", lowest and median similarity {min(right):.3f} {np.median(right):.3f}" if right else ""
        print(f"  {name:<40} found {shares[name]:.1%}{similarities}")
    search = measure(store, rng, train=options.train, fake=options.fake) if options.train and options.fake else {}
    result = {
        "name": "copies",
        "n": {split: len(at) for split, at in rows.items()},
        "plain": plain,
        "similarity_of_held_out": reached.tolist(),
        "threshold": asdict(threshold),
        "planted": len(planted),
        "found": shares,
        **search,
    }
    print(json.dumps(result))


def measure(store: Store, rng: np.random.Generator, *, train: int, fake: int) -> dict[str, float]:
    """Measure processor time and memory of a search of this size, among randomly shifted patches."""

    def some(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        images = store.images(rng.integers(len(store), size=len(rows)))
        return np.roll(images, tuple(rng.integers(0, images.shape[1], 2)), axis=(1, 2))

    start = time.process_time()
    sides = [compute_textures(some, count) for count in (train, fake)]
    middle = time.process_time()
    match_patches(sides[1], sides[0])
    end = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{fake} against {train}: textures {middle - start:.0f} s (decoding included),", end=" ")
    print(f"search {end - middle:.0f} s, {peak} MB")
    return {"textures_s": middle - start, "search_s": end - middle, "peak_mb": peak}


if __name__ == "__main__":
    main()
