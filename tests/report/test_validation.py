"""An evaluation validates the features of each image once, however many measures use them."""

import numpy as np
import pytest

from histosynth.metrics import features

DIMENSION = 6  # of the extractor in conftest.py


@pytest.mark.parametrize("cached", [False, True])
def test_an_evaluation_validates_each_array_once(real, fake, report, tmp_path, monkeypatch, cached):
    """Two labels on three sides and the remaining training patches: seven arrays, extracted or read from the cache."""
    cache = {"cache": str(tmp_path / "cache")}
    if cached:
        report(real, fake, out="before", **cache)
    arrays, validated = [], features._validated

    def record(array, **options):
        if array.shape[1] == DIMENSION:  # not the optical densities of pixels, which have 3 columns
            arrays.append(array)
        return validated(array, **options)

    monkeypatch.setattr(features, "_validated", record)
    content = report(real, fake, **cache)
    assert len(arrays) == 7
    assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])
    every = real.select(split="train").size  # memorization compares with all training patches
    assert sum(map(len, arrays)) == 2 * (14 + 10) + every  # equally many per side: those held out
    assert content["overall"]["fake_vs_held_out"]["measures"].keys() >= {"frechet_distance", "kernel_distance"}
    assert content["label_check"]["accuracy"]
