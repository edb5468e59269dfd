"""A batch is a function of the seed and the position: not of the cache, the threads, or how many share the work."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from histosynth.config import TrainSettings
from histosynth.errors import HistosynthError
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.store import Store, write_manifest
from histosynth.training.data import dataset
from histosynth.training.data.dataset import PatchDataset, to_tensor

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


def shown(data: PatchDataset, start: int, size: int, **asked: Any) -> list[tuple[bytes, int]]:
    images, labels = data.batch(start, size, seed=5, **asked)
    return [(image.numpy().tobytes(), label) for image, label in zip(images, labels.tolist(), strict=True)]


@pytest.mark.parametrize("shares", [{}, {"balance": True}, {"weights": {"a": 3.0}}])
def test_a_batch_is_the_same_from_memory_from_disk_from_the_store_and_from_afar(
    large: Store, tmp_path: Path, shares: dict[str, Any]
) -> None:
    """Whatever the cache, the workers, the slices that ranks and microbatches ask for, and what is made ahead."""
    whole = shown(PatchDataset(large, **shares), 0, 256)
    for options in [{"cache": "off", "workers": 1}, {"cache": "off", "workers": 5}, {"cache": str(tmp_path / "kept")}]:
        data = PatchDataset(large, **shares, **options)
        assert data.pixel_source == (
            "the store" if options["cache"] == "off" else str(*(tmp_path / "kept").glob("*.pixels"))
        )
        for ranks, micro in [(1, 64), (2, 16), (4, 4)]:
            for rank in range(ranks):
                mine = PatchDataset(large, **shares, **options) if ranks > 1 else data
                for step in range(4):
                    first = 64 * step + 64 // ranks * rank
                    for start in range(first, first + 64 // ranks, micro):
                        assert shown(mine, start, micro, stride=64) == whole[start : start + micro]


def test_each_pass_shows_every_patch_once_in_another_order(large: Store) -> None:
    data = PatchDataset(large)
    passes = [shown(data, turn * len(data), len(data)) for turn in range(3)]
    assert len(data) == 25 + 25 + 12
    assert all(len(set(one)) == len(data) for one in passes)
    assert set(passes[0]) == set(passes[1]) == set(passes[2])
    assert passes[0] != passes[1] != passes[2] != passes[0]
    true = {images.tobytes() for images in to_tensor(large.images(data.rows)).numpy()}
    assert {image for image, _ in passes[0]} == true


def test_a_patch_has_the_label_that_the_store_says(large: Store) -> None:
    data, names = PatchDataset(large, balance=True, split="all"), large.column("label")
    truth = {
        image.numpy().tobytes(): name for image, name in zip(to_tensor(large.images(range(90))), names, strict=True)
    }
    assert all(data.labels[label] == truth[image] for image, label in shown(data, 0, 200))


def test_another_seed_is_another_order(large: Store) -> None:
    data = PatchDataset(large)
    assert (data.order(0, 63, seed=1) != data.order(0, 63, seed=2)).any()


def test_weights_multiply_what_would_be_shown(store: Store) -> None:
    """7, 2 and 1 patches: weights of 1, 2, 4 make 7 : 4 : 4, or 1 : 2 : 4 of balanced labels."""
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


def test_a_weight_for_no_label_names_the_nearest(store: Store) -> None:
    data = PatchDataset(store, weights={"a": 2})
    assert data.labels == ["a", "b", "c"]
    with pytest.raises(HistosynthError, match=r"train\.weights names the label 'B'.*there are: a, b, c"):
        PatchDataset(store, weights={"B": 2})


def test_the_dataset_knows_its_patients(large: Store) -> None:
    assert PatchDataset(large).patients == 3


def test_without_room_auto_says_so_and_reads_the_store(large: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "_IN_MEMORY", 0)
    with pytest.warns(UserWarning, match=r"decoded anew for each step: they take 0\.0 GB, more than train\.cache_gb"):
        data = PatchDataset(large, cache_gb=1e-9)
    assert data.pixel_source == "the store"
    assert PatchDataset(large).pixel_source.endswith(".pixels")


def test_the_settings_reach_the_data(large: Store) -> None:
    settings = TrainSettings(split="all", balance=True, weights={"b": 2.0}, cache="off", workers=3)
    data = PatchDataset.of(large, settings)
    assert (data.pixel_source, len(data)) == ("the store", 75)
    wanted = PatchDataset(large, split="all", balance=True, weights={"b": 2.0})
    assert shown(data, 10, 50) == shown(wanted, 10, 50)


def test_an_error_while_reading_ahead_reaches_whoever_asks(large: Store) -> None:
    data = PatchDataset(large, cache="off")
    for part in large.path.glob("part-*"):
        part.write_bytes(bytes(part.stat().st_size))
    with pytest.raises(HistosynthError, match=r"part-.* cannot be read"):
        data.batch(0, 8, seed=0, stride=8)
    with pytest.raises(HistosynthError, match=r"part-.* cannot be read"):
        data.batch(8, 8, seed=0, stride=8)
