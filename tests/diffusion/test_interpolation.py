"""Interpolation: exact end points, constant norm; a mixture of expectations belongs to the product of densities."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from histosynth.diffusion.denoiser import Prediction
from histosynth.diffusion.interpolation import mix_denoisers, slerp
from histosynth.diffusion.samplers import Denoise


def latents(seed: int, n: int = 3) -> Tensor:
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def constant(value: float) -> Denoise:
    return lambda x, t: Prediction(torch.full_like(x, value))


def test_end_points_are_exact() -> None:
    a, b = latents(0), latents(1)
    ends = slerp(a, b, weight=torch.tensor([0.0, 1.0, 0.0]))
    assert torch.equal(ends[0], a[0])
    assert torch.equal(ends[1], b[1])
    x, t = latents(2), torch.tensor(1.0)
    mixture = mix_denoisers(constant(0.3), constant(-0.7), weight=torch.tensor([0.0, 1.0, 0.25]))(x, t).clean
    assert torch.equal(mixture[0], torch.full_like(x[0], 0.3))
    assert torch.equal(mixture[1], torch.full_like(x[1], -0.7))
    torch.testing.assert_close(mixture[2], torch.full_like(x[2], 0.05))


@given(st.integers(0, 1000), st.floats(0.01, 0.99))
def test_angle_on_the_sphere_is_proportional_to_the_weight(seed: int, weight: float) -> None:
    a, b = (latents(seed + i, 1).double() for i in (0, 5000))
    b = b * a.norm() / b.norm()
    between = slerp(a, b, weight=torch.tensor([weight]))

    def angle(x: Tensor, y: Tensor) -> float:
        return math.acos(float((x * y).sum() / (x.norm() * y.norm())))

    assert math.isclose(float(between.norm()), float(a.norm()), rel_tol=1e-9)
    assert math.isclose(angle(a, between), float(torch.tensor(weight)) * angle(a, b), rel_tol=1e-6)


def test_halfway_latent_keeps_the_norm_of_noise_unlike_linear_interpolation() -> None:
    a, b = latents(0, 500), latents(1, 500)
    half = slerp(a, b, weight=torch.full((500,), 0.5))
    assert abs(half.std().item() - 1) < 0.01
    assert abs(((a + b) / 2).std().item() - math.sqrt(0.5)) < 0.01


def test_equal_and_opposite_directions() -> None:
    a = latents(0, 1)
    torch.testing.assert_close(slerp(a, a, weight=torch.tensor([0.3])), a)
    torch.testing.assert_close(slerp(a, 3 * a, weight=torch.tensor([0.5])), 2 * a)
    assert slerp(a, -a, weight=torch.tensor([0.3])).isfinite().all()


def test_mixture_is_the_expectation_under_the_product_of_the_densities() -> None:
    """p_a^(1-w) p_b^w of two noisy Gaussians of equal variance is the Gaussian at the weighted mean."""
    std, sigma, weight = 0.4, 0.7, 0.3

    def optimal(mean: float) -> Denoise:
        return lambda x, t: Prediction(mean + std**2 / (std**2 + sigma**2) * (x - mean))

    x = latents(0, 1)
    mixture = mix_denoisers(optimal(0.5), optimal(-0.5), weight=torch.tensor([weight]))(x, torch.tensor(sigma)).clean
    expected = optimal((1 - weight) * 0.5 + weight * -0.5)(x, torch.tensor(sigma)).clean
    torch.testing.assert_close(mixture, expected)
