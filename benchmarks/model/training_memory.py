"""Memory growth during training: 5,000 steps of a toy model, including checkpoints and previews.

The script prints resident memory every 500 steps and its growth from step 1,000 on (before that, caches fill). It needs
only a CPU and takes some minutes on two cores. `--quick` takes 250 of the steps, during which caches still fill.
The last line is JSON.

    .venv/bin/python benchmarks/model/training_memory.py [--quick]
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import psutil

from histosynth.config import load_settings
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.store import write_manifest
from histosynth.training.diffusion_task import DiffusionTask
from histosynth.training.loop import train

STEPS, BATCH, PX = 5_000, 4, 8


def make_store(directory: Path) -> Path:
    """Write a store of noise with two levels of brightness."""
    directory.mkdir()
    rng = np.random.default_rng(0)
    rows = [
        Patch(
            patch_id=f"S_{n}", slide_id="S", patient_id="P", label=("dark", "light")[n % 2], source="real", mpp=1.0,
            image=(90 + 80 * (n % 2) + rng.integers(-30, 30, (PX, PX, 3))).astype(np.uint8), split="train",
        )
        for n in range(64)
    ]  # fmt: skip
    write_part(part_path(directory, "S"), rows, fingerprint="benchmark")
    write_manifest(directory, {"synthetic": False})
    return directory


def main() -> None:
    """Train while measuring memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="250 steps; only shows that the script runs")
    steps = STEPS // 20 if parser.parse_args().quick else STEPS
    every = steps // 10
    settings = load_settings(
        None,
        overrides=[
            "model.channels=8", "model.channel_mult=[1]", "model.blocks=1", "model.attention_px=[]", "model.heads=1",
            f"train.images={steps * BATCH}", f"train.batch={BATCH}", f"train.checkpoint_every={every // 5 * BATCH}",
            f"train.samples_every={2 * every * BATCH}", "train.microbatch=2", "train.ema_halflife=[1000, 100]",
            "sample.steps=2", "train.precision=fp32",
        ],
    )  # fmt: skip
    # Train with a step that records memory
    process, original_step, memory = psutil.Process(), DiffusionTask.step, dict[int, float]()

    def step(self: DiffusionTask, seen: int) -> None:
        if seen // BATCH % every == 0:
            memory[seen // BATCH] = process.memory_info().rss / 2**20
        original_step(self, seen)

    DiffusionTask.step = step  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "store")
        result = train(store, out=Path(folder) / "run", settings=settings, device="cpu", progress=False)
    memory[steps] = process.memory_info().rss / 2**20
    # Report
    for step_count, size in memory.items():
        print(f"{step_count:>6} steps  {size:7.1f} MiB")
    growth = memory[steps] - memory[2 * every]
    print(f"growth from step {2 * every} to {steps}: {growth:+.1f} MiB")
    print(f"{result.images_per_second:.0f} images per second")
    facts = {"mib": memory, "growth_mib": growth, "images_per_second": result.images_per_second}
    print(json.dumps({"name": "training_memory", **facts}))


if __name__ == "__main__":
    main()
