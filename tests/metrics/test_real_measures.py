"""Measures on features of real tissue: equal to those of torch-fidelity, and in the expected order."""

import csv

import numpy as np
import pytest
from PIL import Image

from histosynth.metrics.extractors.efficientnet_lite0 import EfficientNetLite0
from histosynth.metrics.frechet import frechet_distance
from histosynth.metrics.kid import kid_of_subsets
from histosynth.metrics.manifold import precision_recall
from histosynth.metrics.statistics import Statistics

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def tissue(shared_data):
    """Return the features (20, 1280) of osteosarcoma tiles by class."""
    folder, extract = shared_data / "osteosarcoma_10x", EfficientNetLite0("cpu")
    tiles: dict[str, list[np.ndarray]] = {}
    with (folder / "labels.csv").open() as table:
        for row in csv.DictReader(table):
            image = Image.open(folder / "images" / row["file"]).convert("RGB").resize((224, 224))
            tiles.setdefault(row["class"], []).append(np.asarray(image))
    return {label: extract(np.stack(images)) for label, images in tiles.items()}


def test_kid_precision_and_recall_agree_with_torch_fidelity(tissue):
    kid = pytest.importorskip("torch_fidelity.metric_kid")
    prc = pytest.importorskip("torch_fidelity.metric_prc")
    import torch

    viable, dead = (torch.from_numpy(tissue[label]) for label in ("Viable", "Non-Viable-Tumor"))
    theirs = kid.kid_features_to_metric(viable, dead, kid_subsets=10, kid_subset_size=15, verbose=False, rng_seed=2020)
    ours = kid_of_subsets(
        tissue["Viable"], tissue["Non-Viable-Tumor"], rng=np.random.RandomState(2020), subsets=10, size=15
    )
    assert ours.mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-4)
    shares = precision_recall(tissue["Non-Viable-Tumor"], tissue["Viable"])
    assert (shares.precision, shares.recall) == pytest.approx(
        prc.calculate_precision_recall_full(viable, dead), abs=1e-6
    )


def test_other_tissue_is_farther_than_the_same_tissue(tissue):
    rng = np.random.default_rng(0)
    halves = {label: [Statistics.of(half) for half in np.split(rng.permutation(x), 2)] for label, x in tissue.items()}
    for label, (first, second) in halves.items():
        same = frechet_distance(first, second)
        assert all(frechet_distance(first, other) > same for name, (other, _) in halves.items() if name != label)
