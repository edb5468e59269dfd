"""A batch is a function of the seed and the position, not of the cache, the threads or the number of ranks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from histosynth.config import TrainSettings
from histosynth.errors import HistosynthError
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.store import Store, write_manifest
from histosynth.training.data import dataset
from histosynth.training.data.ahead import Ahead
from histosynth.training.data.dataset import PatchDataset, to_tensor

COUNTS = {"a": 7, "b": 2, "c": 1}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Ten patches of three labels, each of a different gray."""
    labels = [label for label, count in COUNTS.items() for _ in range(count)]
    patches = [
        Patch(patch_id=f"S_{n}", image=np.full((4, 4, 3), 20 * n, np.uint8), source="real", label=label, split="train")
        for n, label in enumerate(labels)
    ]
    write_part(part_path(tmp_path, "S"), patches, fingerprint="f")
    write_manifest(tmp_path, {})
    return Store(tmp_path)


def test_balanced_labels_alternate_and_every_patch_recurs(store: Store) -> None:
    data = PatchDataset(store, balance=True)
    images, labels = data.batch(0, 42, seed=3)
    assert labels.tolist() == [0, 1, 2] * 14
    grays = ((images[:, 0, 0, 0] + 1) * 127.5).round().int()
    for label, count in enumerate(COUNTS.values()):
        passes = grays[labels == label].reshape(-1, count)
        assert all(len(set(one.tolist())) == count for one in passes)
    first, again = data.batch(0, 42, seed=3)[0], PatchDataset(store, balance=True).batch(20, 5, seed=3)[0]
    assert (first[20:25] == again).all()


def test_unbalanced_labels_occur_in_proportion_to_their_patches(store: Store) -> None:
    _, labels = PatchDataset(store).batch(0, 30, seed=0)
    assert np.bincount(labels.numpy()).tolist() == [21, 6, 3]


@pytest.fixture
def large(tmp_path: Path) -> Store:
    """Ninety patches of noise in three parts; label by part, the third held out in part."""
    rng = np.random.default_rng(0)
    directory = tmp_path / "large"
    directory.mkdir()
    for part, label in enumerate("abc"):
        patches = [
            Patch(
                patch_id=f"{label}{n}", image=rng.integers(0, 256, (8, 8, 3), dtype=np.uint8), source="real",
                label=label if n % 7 else None, split="held_out" if part == 2 and n % 2 else "train",
                patient_id=f"P{n // 10}",
            )
            for n in range(30)
        ]  # fmt: skip
        write_part(part_path(directory, label), patches, fingerprint="f")
    write_manifest(directory, {})
    return Store(directory)


def batch(data: PatchDataset, start: int, size: int) -> list[tuple[bytes, int]]:
    images, labels = data.batch(start, size, seed=5)
    return [(image.numpy().tobytes(), label) for image, label in zip(images, labels.tolist(), strict=True)]


@pytest.mark.parametrize("shares", [{}, {"balance": True}, {"weights": {"a": 3.0}}])
def test_a_batch_does_not_depend_on_pixel_source_workers_or_slices(
    large: Store, tmp_path: Path, shares: dict[str, Any]
) -> None:
    """For every cache and number of workers, for slices of ranks and microbatches, and prepared ahead."""
    sequence = batch(PatchDataset(large, **shares), 0, 256)
    for options in [{"cache": "off", "workers": 1}, {"cache": "off", "workers": 5}, {"cache": str(tmp_path / "kept")}]:
        data = PatchDataset(large, **shares, **options)
        assert data.pixel_source == (
            "the store" if options["cache"] == "off" else str(*(tmp_path / "kept").glob("*.pixels"))
        )
        for ranks, micro in [(1, 64), (2, 16), (4, 4)]:
            for rank in range(ranks):
                mine = PatchDataset(large, **shares, **options) if ranks > 1 else data
                slices = [
                    Ahead(lambda start, mine=mine, micro=micro: batch(mine, start, micro), stride=64)  # type: ignore[misc]
                    for _ in range(64 // ranks // micro)
                ]
                for step in range(4):
                    for number, each in enumerate(slices):
                        start = 64 * step + 64 // ranks * rank + micro * number
                        assert each.take(start) == sequence[start : start + micro]


def test_each_pass_shows_every_patch_once_in_another_order(large: Store) -> None:
    data = PatchDataset(large)
    passes = [batch(data, number * len(data), len(data)) for number in range(3)]
    assert len(data) == 25 + 25 + 12
    assert all(len(set(one)) == len(data) for one in passes)
    assert set(passes[0]) == set(passes[1]) == set(passes[2])
    assert passes[0] != passes[1] != passes[2] != passes[0]
    true = {images.tobytes() for images in to_tensor(large.images(data.rows)).numpy()}
    assert {image for image, _ in passes[0]} == true


def test_a_patch_has_its_label_in_the_store(large: Store) -> None:
    data, names = PatchDataset(large, balance=True, split="all"), large.column("label")
    truth = {
        image.numpy().tobytes(): name for image, name in zip(to_tensor(large.images(range(90))), names, strict=True)
    }
    assert all(data.labels[label] == truth[image] for image, label in batch(data, 0, 200))


def test_another_seed_gives_another_order(large: Store) -> None:
    data = PatchDataset(large)
    assert (data.order(0, 63, seed=1) != data.order(0, 63, seed=2)).any()


def test_weights_multiply_the_frequency_of_labels(store: Store) -> None:
    """With 7, 2 and 1 patches, weights of 1, 2, 4 give 7 : 4 : 4, or 1 : 2 : 4 for balanced labels."""
    weights = {"b": 2.0, "c": 4.0}
    for balance, parts in [(False, (7, 4, 4)), (True, (1, 2, 4))]:
        data = PatchDataset(store, balance=balance, weights=weights)
        labels = np.searchsorted([7, 9, 10], data.order(0, 3000, seed=0), side="right")
        assert np.bincount(labels) / 3000 == pytest.approx(np.array(parts) / sum(parts), abs=0.002)
        places = data.order(0, 3000, seed=0)
        for low, high in [(0, 7), (7, 9)]:
            mine = places[(places >= low) & (places < high)]
            mine = mine[: len(mine) // (high - low) * (high - low)].reshape(-1, high - low)
            assert (np.sort(mine, axis=1) == np.arange(low, high)).all(), "no patch twice before each was shown"


def test_a_weight_for_an_unknown_label_suggests_the_nearest(store: Store) -> None:
    data = PatchDataset(store, weights={"a": 2})
    assert data.labels == ["a", "b", "c"]
    with pytest.raises(HistosynthError, match=r"train\.weights names the label 'B'.*the labels are a, b, c"):
        PatchDataset(store, weights={"B": 2})


def test_the_dataset_counts_its_patients(large: Store) -> None:
    assert PatchDataset(large).patients == 3


def test_without_disk_space_auto_warns_and_reads_the_store(large: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "_IN_MEMORY", 0)
    with pytest.warns(UserWarning, match=r"decoded again in each step: they take 0\.0 GB, more than train\.cache_gb"):
        data = PatchDataset(large, cache_gb=1e-9)
    assert data.pixel_source == "the store"
    assert PatchDataset(large).pixel_source.endswith(".pixels")


def test_the_settings_reach_the_dataset(large: Store) -> None:
    settings = TrainSettings(split="all", balance=True, weights={"b": 2.0}, cache="off", workers=3)
    data = PatchDataset.of(large, settings)
    assert (data.pixel_source, len(data)) == ("the store", 75)
    expected = PatchDataset(large, split="all", balance=True, weights={"b": 2.0})
    assert batch(data, 10, 50) == batch(expected, 10, 50)


def test_an_error_while_preparing_reaches_the_caller(large: Store) -> None:
    data = PatchDataset(large, cache="off")
    ahead = Ahead(lambda start: batch(data, start, 8), stride=8)
    for part in large.path.glob("part-*"):
        part.write_bytes(bytes(part.stat().st_size))
    with pytest.raises(HistosynthError, match=r"part-.* cannot be read"):
        ahead.take(0)
    with pytest.raises(HistosynthError, match=r"part-.* cannot be read"):
        ahead.take(8)
