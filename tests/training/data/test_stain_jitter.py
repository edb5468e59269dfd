"""Stain jitter changes concentrations by its equation, and nothing else."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from histosynth.stain.two_stains import TARGET
from histosynth.training.data import stain_jitter
from histosynth.training.data.dataset import to_bytes, to_tensor
from histosynth.training.data.stain_jitter import density_changes, draw_stain_changes

ONE, NONE = torch.ones(1, 2), torch.zeros(1, 2)


def jitter(x: torch.Tensor, *, factors: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    return stain_jitter.jitter(x, density_changes(factors=factors, shifts=shifts))


def pixels(*, least: int = 0, most: int = 256) -> torch.Tensor:
    return to_tensor(np.random.default_rng(0).integers(least, most, (1, 40, 50, 3), dtype=np.uint8))


def density(x: torch.Tensor) -> np.ndarray:
    """Return the optical density (N, 3) of an image (3, H, W) in [-1, 1]."""
    return -np.log(((x.double().numpy() + 1) * 127.5 + 1) / 240).reshape(3, -1).T


def test_factor_one_and_no_shift_is_the_identity() -> None:
    x = pixels()
    changed = jitter(x, factors=ONE, shifts=NONE)
    assert (changed - x).abs().max() < 1e-5
    assert np.array_equal(to_bytes(changed), to_bytes(x))


@given(st.tuples(*[st.floats(0.5, 1.5)] * 2), st.tuples(*[st.floats(-0.3, 0.3)] * 2))
@settings(max_examples=20)
def test_concentrations_are_scaled_and_shifted_and_the_residual_is_kept(
    factors: tuple[float, float], shifts: tuple[float, float]
) -> None:
    x = pixels(least=60, most=150)  # tissue, far enough from black and white
    changed = jitter(x, factors=torch.tensor([factors]), shifts=torch.tensor([shifts]))
    stains = np.array(TARGET.stains).T
    before, after = density(x[0]), density(changed[0])
    inside = (changed[0].abs() < 1).all(0).flatten().numpy()  # values out of range are clipped
    assert inside.mean() > 0.3  # at the extremes, a third of the pixels is not clipped
    c = np.linalg.lstsq(stains, before.T, rcond=None)[0]
    c_after = np.linalg.lstsq(stains, after.T, rcond=None)[0]
    expected = np.array(factors)[:, None] * c + np.array(shifts)[:, None]
    assert c_after[:, inside] == pytest.approx(expected[:, inside], abs=1e-4)
    kept = (after.T - stains @ c_after) - (before.T - stains @ c)
    assert np.abs(kept[:, inside]).max() < 1e-4


def test_glass_is_unchanged_and_the_transition_to_it_has_no_step() -> None:
    glass = to_tensor(np.random.default_rng(0).integers(207, 256, (1, 40, 50, 3), dtype=np.uint8))
    changed = jitter(glass, factors=ONE * 1.5, shifts=NONE + 0.5)
    assert np.array_equal(to_bytes(changed), to_bytes(glass))
    ramp = torch.linspace(1, 0, 4001).expand(1, 3, 1, 4001)
    slope = jitter(ramp, factors=ONE * 1.2, shifts=NONE + 0.2).diff(dim=3).abs().max() * 4000
    assert slope < 6  # a step anywhere would make it hundreds


def seeded(count: int, *, first: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(first, first + count)]


def test_the_jitter_of_an_image_depends_only_on_its_generator() -> None:
    x = pixels(most=180).expand(200, -1, -1, -1)[:, :, :4, :4]

    def jittered(x: torch.Tensor, generators: list[torch.Generator]) -> torch.Tensor:
        factors, shifts = draw_stain_changes(0.2, generators=generators)
        return jitter(x, factors=factors, shifts=shifts)

    first, again = (jittered(x, seeded(200, first=0)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, jittered(x, seeded(200, first=200)))
    assert len({tuple(image.flatten().tolist()) for image in first}) == 200
    assert torch.equal(first[7:9], jittered(x[7:9], seeded(2, first=7)))


def test_factors_and_shifts_are_uniform_over_their_ranges() -> None:
    factors, shifts = draw_stain_changes(0.2, generators=seeded(4000, first=0))
    for drawn, middle in ((factors, 1.0), (shifts, 0.0)):
        low, high = drawn.aminmax(dim=0)
        assert low.tolist() == pytest.approx([middle - 0.2] * 2, abs=1e-3)
        assert high.tolist() == pytest.approx([middle + 0.2] * 2, abs=1e-3)
        assert drawn.mean(0).tolist() == pytest.approx([middle] * 2, abs=0.01)
        assert drawn.var(0).tolist() == pytest.approx([0.4**2 / 12] * 2, rel=0.05)
    together = torch.cat([factors, shifts], 1).T
    assert (torch.corrcoef(together) - torch.eye(4)).abs().max() < 0.06


@pytest.mark.real
def test_more_hematoxylin_darkens_nuclei_more_than_their_surroundings(shared_data: Path) -> None:
    path = sorted((shared_data / "glioma_cpm15" / "images").glob("*.png"))[0]
    x = to_tensor(np.array(Image.open(path).convert("RGB"))[None, :256, :256])
    red = x[0, 0]
    nuclei = red < red.quantile(0.1)
    change = jitter(x, factors=torch.tensor([[1.3, 1.0]]), shifts=NONE)[0, 0] - red
    assert change[nuclei].mean() < -0.04
    assert change[~nuclei].mean().abs() < 0.5 * change[nuclei].mean().abs()
