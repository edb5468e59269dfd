"""Measure how fast patches are loaded from a store: from memory, from the mapped file, decoded, or by `datasets`.

The store is drawn (violet fields with sensor noise, in the patch size of the preset), or given by `--store`. The script
prints the size of a PNG and the numbers of patches decoded and encoded per second of processor time. It then measures
images per second in batches of 64: from memory, from the file of decoded patches, and decoded from Parquet by one
thread and by `--workers` threads; for comparison, the DataLoader of PyTorch over Hugging Face `datasets`, in its own
process and with `--workers` processes. Finally it measures a training step of the preset on the best device of this
machine, and the speed of each loader relative to it. The machine should be idle. It takes two minutes, with `--quick`
half a minute. The last line is JSON: `ratio` is images per second from the mapped file over those of the fastest
`datasets` variant; `low` and `high` are the smallest and largest ratio over its variants.

    .venv/bin/python benchmarks/data/loader.py [--config demo|paper] [--store STORE] [--workers 2] [--no-step] [--quick]
"""

import argparse
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from scipy import ndimage
from torch.utils.flop_counter import FlopCounterMode

from histosynth.config import Settings, load_settings
from histosynth.diffusion.build import build_denoiser
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.png import decode_png, encode_png
from histosynth.store.store import Store, write_manifest
from histosynth.training.data.ahead import Ahead
from histosynth.training.data.dataset import PatchDataset
from histosynth.training.data.feistel_permutation import permute_indices
from histosynth.training.diffusion_task import DiffusionTask
from histosynth.training.launch import launch

BATCH = 64


def tissue(count: int, *, image_px: int, seed: int) -> Iterable[np.ndarray]:
    """Draw violet fields with structure at two scales and sensor noise."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        field = sum(ndimage.zoom(rng.normal(0, 0.15, (px, px)), image_px / px, order=1) for px in (8, 32))
        light = 240 * np.exp(-(0.7 + field)[..., None] * np.array([0.6, 1.0, 0.5]))
        yield (light + rng.normal(0, 4, (image_px, image_px, 3))).clip(0, 255).astype(np.uint8)


def draw_store(directory: Path, *, image_px: int, parts: int, rows: int = 300) -> Store:
    directory.mkdir(parents=True)
    for part in range(parts):
        patches = [
            Patch(patch_id=f"{part}_{n}", image=image, source="real", label="ab"[part % 2], split="train", mpp=1.0)
            for n, image in enumerate(tissue(rows, image_px=image_px, seed=part))
        ]
        write_part(part_path(directory, f"{part:05d}"), patches, fingerprint="benchmark")
    write_manifest(directory, {})
    return Store(directory)


def rate(load: Callable[[int], Any], *, seconds: float) -> float:
    """Return images per second of consecutive batches, after two for warming up."""
    load(0), load(1)
    started, n = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        load(2 + n)
        n += 1
    return n * BATCH / (time.perf_counter() - started)


def store_rate(data: PatchDataset, *, seconds: float) -> float:
    ahead = Ahead(lambda start: data.batch(start, BATCH, seed=0), stride=BATCH)
    return rate(lambda n: ahead.take(n * BATCH), seconds=seconds)


def datasets_rate(store: Path, *, workers: int, seconds: float) -> float:
    """Return images per second of the same tensors, shuffled, from the DataLoader over `datasets`."""
    import datasets

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as cache:
        files = sorted(str(part) for part in store.glob("part-*.parquet"))
        dataset = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=cache)
        dataset = dataset.select_columns(["image"])

        def collate(rows: list[dict[str, Any]]) -> torch.Tensor:
            images = np.stack([np.asarray(row["image"]) for row in rows])
            return torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1

        loader = torch.utils.data.DataLoader(
            dataset, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=workers, collate_fn=collate,
            persistent_workers=workers > 0,
        )  # fmt: skip

        def endless() -> Iterable[torch.Tensor]:
            while True:
                yield from loader

        batches = iter(endless())
        return rate(lambda _: next(batches), seconds=seconds)


def decoding(store: Store) -> tuple[float, float, float]:
    """Return bytes per PNG, and patches decoded and encoded per second of processor time."""
    images = store.images(np.arange(min(300, len(store))))
    data = [encode_png(image) for image in images]
    rates = []
    for work, items in ((decode_png, data), (encode_png, images)):
        started = time.process_time()
        for item in items:
            work(item)
        rates.append(len(items) / (time.process_time() - started))
    return float(np.mean([len(d) for d in data])), *rates


def overhead(store: Store) -> dict[str, float]:
    """Return the cost per patch beside its pixels: bytes and processor microseconds of the footer and of shuffling."""
    parts = store.parts.paths
    started = time.process_time()
    size = sum(pq.read_metadata(part).serialized_size for part in parts)
    reading = time.process_time() - started
    started = time.process_time()
    for n in range(100):
        permute_indices(np.arange(64) + 64 * n, count=10**8, key=(0, n))
    shuffling = (time.process_time() - started) / 6400
    costs = {"footer_bytes": size / len(store), "footer_us": 1e6 * reading / len(store), "order_us": 1e6 * shuffling}
    return {name: round(value, 2) for name, value in costs.items()}


def arithmetic(settings: Settings) -> tuple[float, float]:
    """Return floating-point operations per image of a forward pass and of a training step; counted, not executed."""
    with torch.device("meta"):
        network = build_denoiser(
            settings.model, settings.diffusion, image_px=settings.patches.patch_px, labels=3
        ).network
        inputs = torch.randn(1, 3, *[settings.patches.patch_px] * 2), torch.zeros(1), torch.zeros(1, dtype=torch.long)
    with FlopCounterMode(display=False) as forward:
        network(*inputs)
    with FlopCounterMode(display=False) as both:
        network(*inputs).sum().backward()
    return float(forward.get_total_flops()), float(both.get_total_flops())


def step(data: PatchDataset, *, settings: Settings, seconds: float) -> tuple[str, float]:
    """Return the device and the images per second of training, after two steps for warming up; at least one step."""
    accelerator, batch = launch(None, precision=settings.train.precision), settings.train.batch
    task = DiffusionTask(data, settings=settings, accelerator=accelerator)
    task.step(0), task.step(batch), task.read()
    started, n = time.perf_counter(), 0
    while not n or time.perf_counter() - started < seconds:
        task.step((2 + n) * batch)
        n += 1
    task.read()  # waits for the device
    return str(task.device), n * batch / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="paper" if torch.cuda.is_available() else "demo")
    parser.add_argument("--store", type=Path)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--no-step", action="store_true", help="skip the training step, if it takes too long")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("error")
    seconds, parts = (2.0, 2) if arguments.quick else (10.0, 14)
    settings = load_settings(arguments.config)
    with tempfile.TemporaryDirectory() as folder:
        image_px = settings.patches.patch_px
        store = (
            Store(arguments.store)
            if arguments.store
            else draw_store(Path(folder) / "store", image_px=image_px, parts=parts)
        )
        # Size and coding of the patches.
        size, decoded, encoded = decoding(store)
        facts: dict[str, Any] = {
            "name": "loader", "patches": len(store), "image_px": store.patch_px, "cores": len(os.sched_getaffinity(0)),
            "png_bytes": round(size), "pixel_bytes": 3 * store.patch_px**2,
            "decoded_per_cpu_second": round(decoded), "encoded_per_cpu_second": round(encoded),
        }  # fmt: skip
        print(f"{len(store)} patches of {store.patch_px} px, {size / 1e3:.1f} kB each as PNG;")
        print(f"per second of processor time, {decoded:.0f} are decoded and {encoded:.0f} encoded")
        rates = {}
        cache = str(Path(folder) / "cache")
        facts |= (costs := overhead(store))
        print("cost per patch beside its pixels:", ", ".join(f"{name} {value}" for name, value in costs.items()))
        started = time.process_time(), time.perf_counter()
        PatchDataset(store, split="all", cache=cache)
        filled = len(store) / (time.process_time() - started[0]), len(store) / (time.perf_counter() - started[1])
        print(f"writing the file of decoded patches: {filled[1]:.0f} per second ({filled[0]:.0f} of processor time)")
        facts |= {"filled_per_second": round(filled[1]), "filled_per_cpu_second": round(filled[0])}
        # Rates of the loaders.
        variants = [("memory", {}), ("mapped", {"cache": cache})]
        variants += [(f"decoded by {n}", {"cache": "off", "workers": n}) for n in sorted({1, arguments.workers})]
        for name, options in variants:
            data = PatchDataset(store, split="all", **options)
            rates[name] = store_rate(data, seconds=seconds)
            print(f"  {name:<24} {rates[name]:8.0f} images/s")
        for n in sorted({0, arguments.workers}):
            rates[f"datasets, {n} processes"] = datasets_rate(store.path, workers=n, seconds=seconds)
            print(f"  {f'datasets, {n} processes':<24} {rates[f'datasets, {n} processes']:8.0f} images/s")
        ratios = [rates["mapped"] / value for name, value in rates.items() if name.startswith("datasets")]
        facts |= {"ratio": round(min(ratios), 2), "low": round(min(ratios), 2), "high": round(max(ratios), 2)}
        facts["unit"] = "images per second from the mapped file over those of `datasets`"
        # Rate of a training step, for comparison.
        forward, both = arithmetic(settings)
        print(
            f"`{arguments.config}` is {forward / 1e9:.0f} GFLOP per forward pass and {both / 1e9:.0f} per training step"
        )
        facts |= {
            "config": arguments.config,
            "forward_gflop": round(forward / 1e9, 1),
            "step_gflop": round(both / 1e9, 1),
        }
        facts["images_per_second"] = {name: round(value, 1) for name, value in rates.items()}
        if not arguments.no_step:
            data = PatchDataset(store, split="all", cache=cache)
            device, trained = step(data, settings=settings, seconds=seconds)
            print(f"training with `{arguments.config}` on {device}: {trained:.2f} images/s; loaders relative to it:")
            for name, value in rates.items():
                print(f"  {name:<24} {value / trained:8.1f}")
            facts |= {"device": device, "step_images_per_second": round(trained, 3)}
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
