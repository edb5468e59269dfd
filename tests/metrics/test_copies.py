from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from histosynth.metrics import copies
from histosynth.metrics.copies import (
    MAX_THRESHOLD,
    MIN_THRESHOLD,
    LoadImages,
    Textures,
    calibrate_threshold,
    compute_textures,
    find_copies,
    match_patches,
    similarity,
)
from histosynth.metrics.symmetries import SYMMETRIES, apply_symmetry, undo_symmetry

PX = 96


def tissue(seed: int, count: int, px: int = PX) -> np.ndarray:
    """Return a pink ground with violet nuclei at random places, (N, H, W, 3)."""
    rng = np.random.default_rng(seed)
    nuclei = ndimage.gaussian_filter(rng.normal(size=(count, px, px)), (0, 2, 2))
    depth = (nuclei > 0.1)[..., None]
    color = np.where(depth, [110, 70, 150], [225, 170, 200]) + rng.normal(0, 6, (count, px, px, 3))
    return color.clip(0, 255).astype(np.uint8)


def loader(images: np.ndarray) -> LoadImages:
    return lambda rows: images[rows]


def textures_of(images: np.ndarray) -> Textures:
    return compute_textures(loader(images), len(images))


TRAIN = textures_of(tissue(0, 40))


def jpeg(patch: np.ndarray, quality: int) -> np.ndarray:
    buffer = BytesIO()
    Image.fromarray(patch).save(buffer, format="JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def bright(patch: np.ndarray, by: float) -> np.ndarray:
    return (patch + by).clip(0, 255).astype(np.uint8)


def cropped(patch: np.ndarray, px: int) -> np.ndarray:
    inner = Image.fromarray(patch[px:-px, px:-px])
    return np.asarray(inner.resize(patch.shape[:2], Image.Resampling.BICUBIC))


def noisy(patch: np.ndarray) -> np.ndarray:
    return bright(patch + np.random.default_rng(0).normal(0, 10, patch.shape), 0)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exact": lambda p: p,
    "mirrored": lambda p: p[:, ::-1],
    "turned": lambda p: np.rot90(p),
    "jpeg": lambda p: jpeg(p, 30),
    "blurred": lambda p: ndimage.gaussian_filter(p, (1, 1, 0)),
    "brighter": lambda p: bright(p, 20),
    "tinted": lambda p: bright(p * np.array([1.1, 0.9, 1.05]), 0),
    "moved": lambda p: np.roll(p, (4, -3), axis=(0, 1)),
    "cropped": lambda p: cropped(p, 3),
    "noisy": noisy,
    "all": lambda p: jpeg(noisy(np.rot90(cropped(p[::-1], 2), 3)), 50),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_planted_copies_are_found_among_new_patches(kind):
    fake = np.concatenate([tissue(1, 4), np.stack([CHANGES[kind](p) for p in tissue(0, 40)[:6]])])
    matches = find_copies(match_patches(textures_of(fake), TRAIN), threshold=MIN_THRESHOLD)
    assert {(c.fake_row, c.train_row) for c in matches} == {(4 + i, i) for i in range(6)}
    assert [c.similarity for c in matches] == sorted((c.similarity for c in matches), reverse=True)
    assert max(c.similarity for c in matches) <= 1 + 1e-5


@pytest.mark.parametrize("symmetry", range(8))
def test_the_symmetry_maps_the_training_patch_to_the_synthetic_one(symmetry):
    (copy,) = find_copies(
        match_patches(textures_of(apply_symmetry(tissue(0, 40)[[7]], symmetry)), TRAIN), threshold=MIN_THRESHOLD
    )
    assert (copy.train_row, copy.symmetry) == (7, symmetry)
    assert copy.similarity == pytest.approx(1, abs=1e-3)


def test_the_eight_symmetries_differ_and_have_names():
    patch = tissue(3, 1)
    assert len({apply_symmetry(patch, s).tobytes() for s in range(8)}) == len(SYMMETRIES) == 8
    left = apply_symmetry(np.array([[[1, 2], [3, 4]]]), 1)
    assert left.tolist() == [[[2, 4], [1, 3]]]
    assert apply_symmetry(np.array([[[1, 2], [3, 4]]]), 4).tolist() == [[[2, 1], [4, 3]]]


def test_similarity_is_the_normalized_cross_correlation_of_quarters_at_their_best_shift():
    """Compared with the definition, one shift at a time."""
    rng = np.random.default_rng(4)
    a = rng.integers(-100, 100, (3, 64, 64)).astype(np.int8)
    b = (a // 2 + rng.integers(-60, 60, a.shape)).astype(np.int8)
    for pair, value in enumerate(similarity(a, b)):
        shared = energy_a = energy_b = 0.0
        for y, x in ((8, 8), (8, 32), (32, 8), (32, 32)):
            quarter = a[pair, y : y + 24, x : x + 24] / 25.0
            quarter = quarter - quarter.mean()
            shifts = []
            for dy, dx in np.ndindex(9, 9):
                window = b[pair, y + dy - 4 : y + dy + 20, x + dx - 4 : x + dx + 20] / 25.0
                window = window - window.mean()
                cov, energy = np.sum(quarter * window), np.sum(window**2)
                shifts.append((cov / np.sqrt(energy), cov, energy))
            _, cov, energy = max(shifts)
            shared, energy_a, energy_b = shared + cov, energy_a + np.sum(quarter**2), energy_b + energy
        assert value == pytest.approx(shared / np.sqrt(energy_a * energy_b), abs=1e-4)


def test_glass_gradients_and_edges_are_not_copies_of_each_other():
    """Structures common to all slides: blank glass with noise, a gradient, an edge of tissue without structure."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:PX, :PX]
    glass = np.full((4, PX, PX), 242.0)
    slope = np.stack([200 + 0.4 * (x if i % 2 else y) for i in range(4)])
    edge = np.stack([np.where(x + i * y / 9 > 48, 240.0, 190.0) for i in range(4)])
    plain = np.concatenate([glass, slope, edge])[..., None].repeat(3, axis=3)
    noisy = [(plain + rng.normal(0, 1.5, plain.shape)).clip(0, 255).astype(np.uint8) for _ in range(2)]
    train, fake = (
        textures_of(np.concatenate([noisy[0], tissue(6, 5)])),
        textures_of(np.concatenate([noisy[1], noisy[0]])),
    )
    assert not train.can_be_copied[:12].any()
    assert train.can_be_copied[12:].all()
    assert not find_copies(match_patches(fake, train), threshold=MIN_THRESHOLD)


def test_patches_that_cannot_be_compared_are_nan_and_not_copies():
    blank = np.full((3, PX, PX, 3), 240, np.uint8)
    for fake, train in ((blank, tissue(7, 3)), (tissue(7, 3), blank), (tissue(7, 3), blank[:0])):
        matches = match_patches(textures_of(fake), textures_of(train))
        assert np.isnan(matches.similarity).all()
        assert find_copies(matches, threshold=-1) == []


def test_the_block_size_does_not_change_results(monkeypatch):
    train, fake = textures_of(tissue(8, 5)), textures_of(np.concatenate([tissue(9, 7), tissue(8, 5)[:, ::-1]]))
    whole = match_patches(fake, train)
    monkeypatch.setattr(copies, "_BLOCK", 3)
    again = match_patches(fake, train)
    assert np.array_equal(whole.train_row, again.train_row)
    assert whole.similarity == pytest.approx(again.similarity, abs=1e-6)


def test_the_threshold_stays_within_its_bounds_despite_a_leak():
    train = textures_of(tissue(10, 40))
    assert calibrate_threshold(textures_of(tissue(10, 40)[:0]), train).value == MIN_THRESHOLD
    apart = calibrate_threshold(textures_of(tissue(11, 30)), train)
    assert (apart.value, apart.n, apart.reached) == (MIN_THRESHOLD, 30, 0)
    assert apart.quantile is not None
    assert apart.quantile < MIN_THRESHOLD
    leak = calibrate_threshold(textures_of(tissue(10, 20)), textures_of(tissue(10, 20)))
    assert (leak.value, leak.reached) == (MAX_THRESHOLD, 20)


@pytest.mark.real
def test_real_tissue_of_other_patients_is_not_a_copy_and_planted_copies_are(shared_data: Path):
    """Tiles of three cases for training, of Case-4 held out, 256 px of each."""
    folder = shared_data / "osteosarcoma_10x" / "images"
    sides: dict[bool, list[np.ndarray]] = {True: [], False: []}
    for path in sorted(folder.iterdir()):
        tile = np.asarray(Image.open(path))[:256, :256].reshape(2, 128, 2, 128, 3).swapaxes(1, 2)
        sides["Case-4-" in path.name].append(tile.reshape(4, 128, 128, 3))
    train, held_out = np.concatenate(sides[False]), np.concatenate(sides[True])
    index = textures_of(train)
    threshold = calibrate_threshold(textures_of(held_out), index)
    assert threshold.reached == 0
    assert 0.4 < (threshold.quantile or 0) < MIN_THRESHOLD
    rows = np.flatnonzero(index.can_be_copied)[::6]
    planted = np.stack([CHANGES["all"](p) for p in train[rows]])
    matches = find_copies(match_patches(textures_of(planted), index), threshold=threshold.value)
    assert np.mean([rows[c.fake_row] == c.train_row for c in matches]) == 1.0
    assert len(matches) >= 0.95 * len(rows)


def moved(patch: np.ndarray, dy: int, dx: int) -> np.ndarray:
    padded = np.pad(patch, ((8, 8), (8, 8), (0, 0)), mode="reflect")
    return padded[8 + dy : 8 + dy + len(patch), 8 + dx : 8 + dx + len(patch)]


SIXTEENTH = {
    "moved down": lambda p: moved(p, len(p) // 16, 0),
    "moved left": lambda p: moved(p, 0, -len(p) // 16),
    "moved diagonally": lambda p: moved(p, -len(p) // 16, len(p) // 16),
    "moved by half as much": lambda p: moved(p, len(p) // 32, -len(p) // 32),
    "rotated and moved": lambda p: moved(np.rot90(p)[::-1], len(p) // 16, len(p) // 16),
    "cropped": lambda p: cropped(p, len(p) // 16),
    "cropped by half as much": lambda p: cropped(p, len(p) // 32),
}


@pytest.mark.parametrize("px", [32, 64, 96])
@pytest.mark.parametrize("kind", SIXTEENTH)
def test_copies_moved_or_cropped_by_a_sixteenth_of_the_side_are_found_among_many(px, kind):
    """The candidates are few of many; a selection by features that do not tolerate moves would miss these."""
    images = tissue(20, 400, px)
    changed = np.stack([SIXTEENTH[kind](p) for p in images[:20]])
    matches = match_patches(textures_of(changed), textures_of(images))
    assert matches.train_row.tolist() == list(range(20))
    assert np.mean(matches.similarity >= MIN_THRESHOLD) >= 0.95


@pytest.mark.parametrize("symmetry", range(8))
def test_a_symmetry_is_undone(symmetry):
    patch = tissue(3, 1)
    assert np.array_equal(undo_symmetry(apply_symmetry(patch, symmetry), symmetry), patch)
