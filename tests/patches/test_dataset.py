from pathlib import Path

import numpy as np
import pytest

from histosynth.patches.dataset import PatchDataset
from histosynth.patches.store import Patch, Store, part_path, write_manifest, write_part

COUNTS = {"a": 7, "b": 2, "c": 1}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Ten patches of three labels, each of a gray of its own."""
    labels = [label for label, count in COUNTS.items() for _ in range(count)]
    patches = [
        Patch(patch_id=f"S_{n}", image=np.full((4, 4, 3), 20 * n, np.uint8), source="real", label=label, split="train")
        for n, label in enumerate(labels)
    ]
    write_part(part_path(tmp_path, "S"), patches, fingerprint="f")
    write_manifest(tmp_path, {})
    return Store(tmp_path)


def test_balanced_labels_take_turns_and_every_patch_comes_round(store: Store) -> None:
    data = PatchDataset(store, balance=True)
    images, labels = data.batch(0, 42, seed=3)
    assert labels.tolist() == [0, 1, 2] * 14
    grays = ((images[:, 0, 0, 0] + 1) * 127.5).round().int()
    for label, count in enumerate(COUNTS.values()):
        shown = grays[labels == label].reshape(-1, count)
        assert all(len(set(turn.tolist())) == count for turn in shown)
    first, again = data.batch(0, 42, seed=3)[0], PatchDataset(store, balance=True).batch(20, 5, seed=3)[0]
    assert (first[20:25] == again).all()


def test_unbalanced_labels_come_as_often_as_they_are(store: Store) -> None:
    _, labels = PatchDataset(store).batch(0, 30, seed=0)
    assert np.bincount(labels.numpy()).tolist() == [21, 6, 3]
