"""The quick Fréchet distance is the Fréchet distance to the patches drawn."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from histosynth.metrics.frechet import frechet_distance
from histosynth.metrics.quick_frechet import quick_frechet
from histosynth.metrics.statistics import Statistics
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.store import Store, write_manifest


class Colors:
    """Mean and standard deviation of each channel."""

    name = title = "colors"
    dimension = 6
    weights_sha256 = preprocessing = "none"

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = images.reshape(len(images), -1, 3).astype(np.float32)
        return np.concatenate([pixels.mean(1), pixels.std(1)], axis=1)


def test_the_quick_distance_is_the_distance_to_the_patches_drawn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 4, 4, 3)).astype(np.uint8)
    rows = [
        Patch(patch_id=f"S_{n}", slide_id="S", label="a", source="real", image=image, split="train" if n < 40 else None)
        for n, image in enumerate(images)
    ]
    write_part(part_path(tmp_path, "S"), rows, fingerprint="test")
    write_manifest(tmp_path, {"synthetic": False})
    store, fake = Store(tmp_path), {name: rng.integers(0, 200, (25, 4, 4, 3)).astype(np.uint8) for name in "ab"}
    expected = frechet_distance(
        Statistics.of(Colors()(images[:40])), Statistics.of(Colors()(np.concatenate(list(fake.values()))))
    )
    every = quick_frechet(store, store.select(split="train"), extractor=Colors(), images=100, batch=7)
    assert every(fake) == pytest.approx(expected, rel=1e-4)
    some = [quick_frechet(store, store.select(split="train"), extractor=Colors(), images=20, seed=s) for s in (1, 1, 2)]
    first, again, other = (measure(fake) for measure in some)
    assert first == again
    assert first != other
