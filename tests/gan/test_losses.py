"""Losses and penalties against closed forms."""

import math

import pytest
import torch
from torch import Tensor

from histosynth.config import GanSettings
from histosynth.gan.losses import discriminator_loss, generator_loss


@pytest.fixture
def images() -> tuple[Tensor, Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(0)
    return (
        torch.randn(5, 3, 4, 4, generator=drawn),
        torch.randn(5, 3, 4, 4, generator=drawn),
        torch.rand(5, generator=drawn),
    )


Triple = tuple[Tensor, Tensor, Tensor]


def linear(length: float) -> Tensor:
    a = torch.randn(48, generator=torch.Generator().manual_seed(1))
    return (a / a.norm() * length).requires_grad_()


@pytest.mark.parametrize("length", [0.3, 1.0, 4.0])
def test_gradient_penalty_of_a_linear_critic_has_the_closed_form(images: Triple, length: float) -> None:
    """D(x) = ⟨a, x⟩ has the gradient a everywhere: λ (|a| - 1)², with the gradient 2 λ (|a| - 1) a / |a| in a."""
    (real, fake, mix), a = images, linear(length)
    gan = GanSettings(gp_lambda=7.0, drift=0.0)
    loss = discriminator_loss(lambda x: x.flatten(1) @ a, real, fake, mix=mix, gan=gan)
    torch.testing.assert_close(loss.penalty, torch.full((5,), 7 * (length - 1) ** 2), atol=1e-5, rtol=1e-5)
    (gradient,) = torch.autograd.grad(loss.penalty.mean(), a)
    torch.testing.assert_close(gradient, 14 * (length - 1) * a.detach() / length, atol=1e-4, rtol=1e-4)


def test_penalty_is_evaluated_at_the_mixed_image(images: Triple) -> None:
    """D(x) = |x|² / 2 has the gradient x."""
    real, fake, mix = images
    gan = GanSettings(drift=0.0)
    loss = discriminator_loss(lambda x: x.flatten(1).square().sum(1) / 2, real, fake, mix=mix, gan=gan)
    mixed = (1 - mix.view(-1, 1, 1, 1)) * real + mix.view(-1, 1, 1, 1) * fake
    torch.testing.assert_close(loss.penalty, 10 * (mixed.flatten(1).norm(dim=1) - 1).square())


def test_loss_of_wgan_equals_its_formula(images: Triple) -> None:
    (real, fake, mix), a = images, linear(1.0)
    loss = discriminator_loss(lambda x: x.flatten(1) @ a, real, fake, mix=mix, gan=GanSettings(drift=0.5))
    on_real, on_fake = real.flatten(1) @ a, fake.flatten(1) @ a
    torch.testing.assert_close(loss.loss, on_fake - on_real + 0.5 * on_real.square(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close((loss.score_real, loss.score_fake), (on_real, on_fake))
    assert torch.equal(generator_loss(on_fake, gan=GanSettings()), -on_fake)


def test_r1_of_a_linear_critic_has_the_closed_form(images: Triple) -> None:
    """γ/2 |a|², with the gradient γ a in a; the remainder is the cross entropy of a binary classifier."""
    (real, fake, mix), a = images, linear(3.0)
    gan = GanSettings(loss="r1", r1_gamma=4.0)
    loss = discriminator_loss(lambda x: x.flatten(1) @ a, real, fake, mix=mix, gan=gan)
    torch.testing.assert_close(loss.penalty, torch.full((5,), 18.0))
    (gradient,) = torch.autograd.grad(loss.penalty.mean(), a, retain_graph=True)
    torch.testing.assert_close(gradient, 4 * a.detach())
    on_real, on_fake = real.flatten(1) @ a, fake.flatten(1) @ a
    entropy = -torch.log(torch.sigmoid(on_real)) - torch.log(1 - torch.sigmoid(on_fake))
    torch.testing.assert_close(loss.loss - loss.penalty, entropy, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(generator_loss(on_fake, gan=gan), -torch.log(torch.sigmoid(on_fake)))


def test_r1_is_evaluated_at_real_images_only(images: Triple) -> None:
    real, fake, mix = images
    gan = GanSettings(loss="r1", r1_gamma=2.0)
    loss = discriminator_loss(lambda x: x.flatten(1).square().sum(1) / 2, real, fake, mix=mix, gan=gan)
    torch.testing.assert_close(loss.penalty, real.flatten(1).square().sum(1))


def test_constant_critic_has_a_finite_gradient(images: Triple) -> None:
    """At a zero gradient the square root has no derivative: the result must be 0, not NaN."""
    (real, fake, mix), a = images, torch.zeros(48, requires_grad=True)
    loss = discriminator_loss(lambda x: x.flatten(1) @ a, real, fake, mix=mix, gan=GanSettings())
    loss.loss.mean().backward()
    assert a.grad is not None
    assert math.isfinite(a.grad.sum().item())
