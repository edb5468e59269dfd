"""Fitting a mixture recovers what the patches were drawn from."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from histosynth.diffusion.mixture import Mixture
from histosynth.diffusion.mixture_fit import Batches, fit_mixture, principal_axes

SIDE = 8


def in_batches(x: Tensor, label: Tensor) -> Batches:
    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(x.split(300), label.split(300), strict=True)

    return batches


def drawn(count: int, *, spread: float, color: float, seed: int) -> Tensor:
    """Gray images: a mean color about `color`, white noise about it."""
    generator = torch.Generator().manual_seed(seed)
    mean = color + 0.02 * torch.randn(count, 1, 1, 1, generator=generator)
    return mean + spread * torch.randn(count, 3, SIDE, SIDE, generator=generator)


def fitted(x: Tensor, label: Tensor, *, labels: int = 1, components: int = 2, transposed: bool = True) -> Mixture:
    mixture = Mixture(image_px=SIDE, labels=labels, components=components).double()
    fit_mixture(mixture, in_batches(x, label), generator=torch.Generator().manual_seed(0), transposed=transposed)
    return mixture


def test_one_component_has_the_moments_of_the_patches() -> None:
    x = torch.randn(500, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).cumsum(3).double() / 4
    mixture = fitted(x, torch.zeros(500, dtype=torch.long), components=1, transposed=False)
    y = mixture.transform(x)
    torch.testing.assert_close(mixture.mean[0, 0], y[:, :, 0, 0].mean(0))
    variance = mixture.variance[0, 0].view(3, 6, 6)
    torch.testing.assert_close(variance[:, 0, 0], y[:, :, 0, 0].var(0, correction=0))
    torch.testing.assert_close(variance[:, 5, 2], y[:, :, 5:, 2].square().mean((0, 2)))
    assert mixture.log_weight.item() == pytest.approx(0)


def test_two_kinds_of_patches_are_separated() -> None:
    x = torch.cat([drawn(300, spread=0.05, color=0.5, seed=1), drawn(100, spread=0.3, color=-0.2, seed=2)])
    mixture = fitted(x, torch.zeros(400, dtype=torch.long))
    weight, order = mixture.log_weight[0].exp().sort(descending=True)
    torch.testing.assert_close(weight, torch.tensor([0.75, 0.25]).double(), atol=0.01, rtol=0)
    color = (mixture.mean[0] @ mixture.axes / SIDE)[order]  # of the mean color, in pixels
    torch.testing.assert_close(color, torch.tensor([[0.5] * 3, [-0.2] * 3]).double(), atol=0.02, rtol=0)
    spread = mixture.variance[0].view(2, 3, 6, 6)[order][:, :, 1:, 1:].mean((1, 2, 3)).sqrt()
    torch.testing.assert_close(spread, torch.tensor([0.05, 0.3]).double(), atol=0.02, rtol=0)


def test_patches_are_likelier_with_every_component() -> None:
    """A denoiser of a better model has less error: on patches that the fit did not see."""
    kinds = [drawn(200, spread=0.03 * 2**k, color=0.3 * k - 0.5, seed=k) for k in range(4)]
    x0, unseen = (torch.cat([kind[half] for kind in kinds]) for half in (slice(100), slice(100, None)))
    x = unseen + 0.2 * torch.randn(unseen.shape, generator=torch.Generator().manual_seed(9))
    label, sigma = torch.zeros(400, dtype=torch.long), torch.full((400,), 0.2)
    errors = []
    for components in (1, 2, 4):
        mixture = fitted(x0, label, components=components)
        errors.append((mixture.posterior(x, sigma, label).mean - unseen).square().mean().item())
    assert errors[0] > 1.05 * errors[1] > 1.05 * errors[2]


def test_a_patch_and_its_transpose_count_alike() -> None:
    stripes = torch.cos(torch.arange(SIDE) * torch.pi / 4).expand(40, 3, SIDE, SIDE)
    x = stripes * torch.randn(40, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    label = torch.zeros(40, dtype=torch.long)
    both, one = (fitted(x, label, components=1, transposed=t).variance[0, 0].view(3, 6, 6) for t in (True, False))
    torch.testing.assert_close(both, both.mT)
    assert one[0, 0, 2] > 100 * one[0, 2, 0]


def test_labels_have_components_of_their_own_and_weights_by_number() -> None:
    x = torch.cat([drawn(300, spread=0.1, color=0.5, seed=1), drawn(100, spread=0.1, color=-0.5, seed=2)])
    mixture = fitted(x, torch.tensor([0] * 300 + [1] * 100), labels=2)
    torch.testing.assert_close(mixture.log_weight.exp().sum(1), torch.tensor([0.75, 0.25]).double())
    color = mixture.mean @ mixture.axes / SIDE
    assert ((color[0] - 0.5).abs() < 0.1).all()
    assert ((color[1] + 0.5).abs() < 0.1).all()


def test_few_patches_are_not_learned_by_heart_and_none_are_no_error() -> None:
    x = drawn(5, spread=0.1, color=0.0, seed=1)
    mixture = fitted(x, torch.zeros(5, dtype=torch.long), labels=2, components=16)
    used = mixture.log_weight.exp() > 0
    assert used.sum(1).max() <= 10  # the patches and their transposes
    assert all(value.isfinite().all() for value in mixture.state_dict().values())
    variance = mixture.variance[0].view(16, 3, 6, 6)[:, :, 1:, 1:].mean((1, 2, 3))
    assert (variance[used[0]] > 0.5 * 0.1**2).all()
    for label in (0, 1, 2):  # the second has no patches
        posterior = mixture.posterior(x, torch.full((5,), 0.1), torch.full((5,), label))
        assert posterior.mean.isfinite().all()
        assert (posterior.deviation > 0).all()


def test_flat_patches_are_no_error() -> None:
    mixture = fitted(torch.full((30, 3, SIDE, SIDE), 0.2), torch.zeros(30, dtype=torch.long), components=4)
    x = torch.randn(2, 3, SIDE, SIDE)
    posterior = mixture.posterior(x, torch.full((2,), 1.0), torch.zeros(2, dtype=torch.long)).mean
    torch.testing.assert_close(posterior, torch.full_like(x, 0.2), atol=1e-3, rtol=0, check_dtype=False)


def test_axes_are_principal_and_have_one_direction() -> None:
    direction = torch.tensor([0.8, -0.6, 0.0]).double()
    x = direction[:, None, None] * torch.randn(50, 1, SIDE, SIDE, dtype=torch.float64)
    axes = principal_axes(in_batches(x, torch.zeros(50)))
    torch.testing.assert_close(axes[0], direction)
    torch.testing.assert_close(axes @ axes.T, torch.eye(3).double())
    torch.testing.assert_close(principal_axes(in_batches(-x, torch.zeros(50)))[0], direction)


def test_no_patches_are_refused() -> None:
    with pytest.raises(ValueError, match="no patches"):
        principal_axes(lambda: [])
