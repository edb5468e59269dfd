"""The torch backend agrees with NumPy, image by image, independent of the rest of the batch."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from histosynth.errors import HistosynthError
from histosynth.stain import Macenko, StainError, StainFit, batched, normalizers, tissue_pixels
from histosynth.stain.batched import apply, estimate_batch, estimate_macenko, normalize_batch
from histosynth.stain.two_stains import TARGET, TwoStains, normalization_matrix

MACENKO = Macenko()
CPU = "cpu"
SIDE = 64


class Tenths(TwoStains):
    """Another two-stain method: the mean colors of the tenths of pixels that absorb the most and the least red."""

    def find_stain_vectors(self, stained: np.ndarray) -> np.ndarray:
        order = np.argsort(stained[0] / stained.sum(axis=0))
        tenth = len(order) // 10
        return np.stack([stained[:, order[-tenth:]].mean(axis=1), stained[:, order[:tenth]].mean(axis=1)]).astype(float)


def stained(seed: int, *, glass: float = 0.3, first: int = 0) -> np.ndarray:
    """Draw an image (64, 64, 3) of two random stains, with glass and noise; `first=1`: of eosin alone."""
    rng = np.random.default_rng(seed)
    vectors = np.array(TARGET.stains) + rng.uniform(-0.05, 0.05, (2, 3))
    c = rng.uniform(0, 1.5, (SIDE * SIDE, 2)) * (rng.random((SIDE * SIDE, 1)) > glass)
    c[:, :first] = 0
    light = 240 * np.exp(-c @ vectors) - 1 + rng.normal(0, 1, (SIDE * SIDE, 3))
    return np.clip(np.rint(light), 0, 255).astype(np.uint8).reshape(SIDE, SIDE, 3)


def noise(color: tuple[int, int, int], spread: float) -> np.ndarray:
    values = np.random.default_rng(0).normal(color, spread, (SIDE, SIDE, 3))
    return np.clip(values, 0, 255).astype(np.uint8)


def ink() -> np.ndarray:
    """Return an image of tissue, one half of it under blue ink of uneven thickness."""
    image = stained(3, glass=0)
    thickness = np.random.default_rng(1).uniform(0.3, 1.2, (SIDE, SIDE // 2, 1))
    image[:, : SIDE // 2] = 240 * np.exp(-thickness * [2.2, 0.9, 0.5]) - 1
    return image


def one_by_one(images: np.ndarray) -> list[StainFit | str]:
    def estimate(image: np.ndarray) -> StainFit | str:
        try:
            return MACENKO.estimate(tissue_pixels(image.reshape(-1, 3)))
        except StainError as error:
            return str(error)

    return [estimate(image) for image in images]


def assert_same_fits(actual: list[StainFit | str], expected: list[StainFit | str]) -> None:
    assert len(actual) == len(expected)
    for a, b in zip(actual, expected, strict=True):
        if isinstance(a, str) or isinstance(b, str):
            assert a == b
        else:
            assert a.pixels == b.pixels
            assert np.array(a.stains) == pytest.approx(np.array(b.stains), abs=2e-5)
            assert a.max_concentrations == pytest.approx(b.max_concentrations, abs=5e-5)
            assert (a.angle_deg, a.residual) == pytest.approx((b.angle_deg, b.residual), abs=2e-3)
            assert np.abs(normalization_matrix(a, TARGET) - normalization_matrix(b, TARGET)).max() < 1e-3


OUTCOMES = {
    "too-few-pixels": np.full((SIDE, SIDE, 3), 255, np.uint8),
    "black": noise((4, 4, 4), 2),
    "uniform": np.full((SIDE, SIDE, 3), (150, 80, 140), np.uint8),
    "one-stain": stained(0, first=1),
    "foreign-color": ink(),
}
BATCH = np.stack([stained(1), *OUTCOMES.values(), stained(2), noise((240, 240, 242), 3), noise((120, 60, 130), 1)])


def test_fits_and_reasons_agree_with_numpy() -> None:
    fits = estimate_macenko(torch.tensor(BATCH))
    assert fits[1:6] == list(OUTCOMES)
    assert [isinstance(fit, StainFit) for fit in fits] == [True, *[False] * 5, True, False, False]
    assert_same_fits(fits, one_by_one(BATCH))


@given(st.integers(0, 2**32 - 1), st.floats(0, 0.97))
@settings(max_examples=15)
def test_fits_agree_for_any_stains_and_share_of_glass(seed: int, glass: float) -> None:
    images = np.stack([stained(seed, glass=glass), stained(seed + 1, glass=0.95)])
    assert_same_fits(estimate_macenko(torch.tensor(images)), one_by_one(images))


def test_diamond_angle_agrees_with_arctan2() -> None:
    vectors = np.random.default_rng(0).normal(size=(1000, 2)).astype(np.float32)
    vectors[0] = 0, -1
    x, y = torch.tensor(vectors.T)
    assert batched._radians(batched._diamond_angle(x, y).double().numpy()) == pytest.approx(
        np.arctan2(*vectors.T[::-1]), abs=1e-6
    )
    assert batched._diamond_angle(torch.zeros(1), torch.zeros(1)).item() == 0


@given(st.integers(1, 400), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_top_percentile_agrees_with_numpy(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, inside = rng.normal(size=(1, 2, 400)).astype(np.float32), np.zeros((1, 400), bool)
    inside[0, rng.permutation(400)[:count]] = True
    top = batched._top_percentile(torch.tensor(values), torch.tensor(inside), np.array([float(count)]), percent=1.0)
    assert top[0] == pytest.approx(np.percentile(values[0].astype(float)[:, inside[0]], 99, axis=1), abs=1e-6)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_normalized_images_agree_within_a_level(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (3, 17, 23, 3), dtype=np.uint8)
    fits = [replace(TARGET, max_concentrations=tuple(rng.uniform(0.3, 3, 2))) for _ in images]
    normalized = normalize_batch(images, normalizer=MACENKO, fits=fits, device=CPU)
    for image, fit, original in zip(normalized, fits, images, strict=True):
        assert np.abs(image.astype(int) - MACENKO.apply(original, fit)).max() <= 1
    shared = apply(torch.tensor(images), torch.tensor(normalization_matrix(fits[0], TARGET)))
    assert np.array_equal(shared[0], normalized[0])


def test_results_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.stack([stained(seed)[:61, :59] for seed in range(5)])  # sides that are not multiples of a vector
    together = estimate_macenko(torch.tensor(images))
    fits = [fit for fit in together if isinstance(fit, StainFit)]
    colors = normalize_batch(images, normalizer=MACENKO, fits=fits, device=CPU)
    for k in range(5):
        one = images[k : k + 1]
        assert estimate_macenko(torch.tensor(one)) == together[k : k + 1]
        assert np.array_equal(normalize_batch(one, normalizer=MACENKO, fits=fits[k : k + 1], device=CPU)[0], colors[k])
    monkeypatch.setattr(batched, "_images_at_a_time", lambda pixels: 3)  # as on an accelerator
    assert estimate_macenko(torch.tensor(images)) == together
    assert estimate_macenko(torch.tensor(BATCH)) == [estimate_macenko(torch.tensor(image[None]))[0] for image in BATCH]


def test_results_do_not_depend_on_strides() -> None:
    images = torch.tensor(BATCH[[0, 6]])
    planar = images.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    assert not planar.is_contiguous()
    assert estimate_macenko(planar) == estimate_macenko(images)
    matrix = torch.tensor(normalization_matrix(one_by_one(BATCH[:1])[0], TARGET))
    assert torch.equal(apply(planar, matrix), apply(images, matrix))
    assert torch.equal(apply(images[:, ::2, 1::3], matrix), apply(images, matrix)[:, ::2, 1::3])


def test_large_image_is_processed_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.tensor(BATCH[:3])
    matrices = torch.tensor(normalization_matrix(one_by_one(BATCH[:1])[0], TARGET)).expand(3, 3, 3).requires_grad_()
    whole = apply(images, matrices)
    assert whole.grad_fn is None
    assert not whole.requires_grad
    monkeypatch.setattr(batched, "_CHUNK", 1000)
    assert (apply(images, matrices).int() - whole.int()).abs().max() <= 1


def test_images_without_fit_are_unchanged_and_batches_may_be_empty() -> None:
    fits = [fit if isinstance(fit, StainFit) else None for fit in one_by_one(BATCH)]
    normalized = normalize_batch(BATCH, normalizer=MACENKO, fits=fits, device=CPU)
    assert [np.array_equal(a, b) for a, b in zip(normalized, BATCH, strict=True)] == [fit is None for fit in fits]
    assert normalize_batch(BATCH[:0], normalizer=MACENKO, fits=[], device=CPU).shape == (0, SIDE, SIDE, 3)
    assert estimate_batch(BATCH[:0], normalizer=MACENKO, device=CPU) == []


def test_other_two_stain_methods_are_supported() -> None:
    tenths = Tenths()
    fits = estimate_batch(BATCH[:2], normalizer=tenths, device=CPU)
    assert fits == [tenths.estimate(tissue_pixels(BATCH[0].reshape(-1, 3))), "too-few-pixels"]
    assert estimate_batch(BATCH, normalizer=MACENKO, device=CPU) == estimate_macenko(torch.tensor(BATCH))
    normalized = normalize_batch(BATCH[:1], normalizer=tenths, fits=fits[:1], device=CPU)
    assert np.abs(normalized[0].astype(int) - tenths.apply(BATCH[0], fits[0])).max() <= 1


def test_other_methods_are_rejected() -> None:
    with pytest.raises(HistosynthError, match="supports Macenko and Vahadane, not NoNormalization; leave out --device"):
        normalize_batch(BATCH, normalizer=normalizers["none"], fits=[None] * len(BATCH), device=CPU)
    with pytest.raises(HistosynthError, match="leave out --device"):
        estimate_batch(BATCH, normalizer=normalizers["none"], device=CPU)


def test_numpy_backend_does_not_import_torch() -> None:
    code = "import sys, histosynth.stain; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_gives_the_same_fits_and_colors_within_a_level() -> None:
    gpu = torch.device("cuda")
    fits = estimate_batch(BATCH, normalizer=MACENKO, device=gpu)
    assert fits == estimate_batch(BATCH, normalizer=MACENKO, device=CPU)
    kept = [fit if isinstance(fit, StainFit) else None for fit in fits]
    a, b = (normalize_batch(BATCH, normalizer=MACENKO, fits=kept, device=device) for device in (gpu, CPU))
    assert np.abs(a.astype(int) - b).max() <= 1


@pytest.mark.real
def test_real_tiles_agree_with_numpy(shared_data: Path) -> None:
    folders = ["glioma_tcga_lgg", "glioma_cpm15", "crc_val_he_7k_sample", "lc25000_768", "osteosarcoma_10x"]
    paths = [path for folder in folders for path in sorted((shared_data / folder / "images").iterdir())[::10]]
    images = np.stack([np.asarray(Image.open(path).convert("RGB"))[:128, :128] for path in paths])
    expected = one_by_one(images)
    assert_same_fits(estimate_macenko(torch.tensor(images)), expected)
    fits = [fit if isinstance(fit, StainFit) else None for fit in expected]
    assert sum(fit is not None for fit in fits) > 20
    normalized = normalize_batch(images, normalizer=MACENKO, fits=fits, device=CPU)
    for image, original, fit in zip(normalized, images, fits, strict=True):
        assert np.abs(image.astype(int) - MACENKO.apply(original, fit)).max() <= 1
