"""Losses of the two networks of a GAN, per image.

WGAN-GP (Gulrajani et al. 2017), with the drift of Karras et al. (2018) that keeps real scores near zero:

    L_D = D(x̃) - D(x) + λ (‖∇ D(x̂)‖ - 1)² + ε D(x)²,   x̂ = (1 - u) x + u x̃, u uniform
    L_G = -D(x̃)

Non-saturating (Goodfellow et al. 2014) with R1 (Mescheder et al. 2018):

    L_D = softplus(D(x̃)) + softplus(-D(x)) + γ/2 ‖∇ D(x)‖²
    L_G = softplus(-D(x̃))
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from histosynth.config import GanSettings

_TINY = 1e-12  # makes the norm of a zero gradient differentiable
Critic = Callable[[Tensor], Tensor]
"""A map from images (B, 3, S, S) to scores (B,)."""


class DiscriminatorLoss(NamedTuple):
    """Per image, (B,): the loss, the scores, and the penalty as it enters the loss."""

    loss: Tensor
    score_real: Tensor
    score_fake: Tensor
    penalty: Tensor


def scores_and_squared_gradients(critic: Critic, x: Tensor) -> tuple[Tensor, Tensor]:
    """Compute scores of images and the differentiable squared norm of the gradient per image, (B,) each."""
    x = x.detach().requires_grad_()
    scores = critic(x)
    (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    return scores, gradient.float().square().sum((1, 2, 3))


def discriminator_loss(
    critic: Critic, real: Tensor, fake: Tensor, *, mix: Tensor, gan: GanSettings
) -> DiscriminatorLoss:
    """Compute the loss of the discriminator.

    Args:
        critic: the discriminator at the current growth, with the labels bound.
        real: (B, 3, S, S) real images.
        fake: (B, 3, S, S) fake images of the same labels.
        mix: (B,) in [0, 1], the weight of the fake image in the mixed image; for `wgan_gp`.
        gan: the kind of loss and its constants.
    """
    if gan.loss == "wgan_gp":
        score_real, score_fake = critic(real).float(), critic(fake).float()
        _, square_norm = scores_and_squared_gradients(critic, torch.lerp(real, fake, mix.view(-1, 1, 1, 1)))
        penalty = gan.gp_lambda * ((square_norm + _TINY).sqrt() - 1).square() + gan.drift * score_real.square()
        return DiscriminatorLoss(score_fake - score_real + penalty, score_real, score_fake, penalty)
    scores, square_norm = scores_and_squared_gradients(critic, real)
    score_real, score_fake = scores.float(), critic(fake).float()
    penalty = gan.r1_gamma / 2 * square_norm
    loss = F.softplus(score_fake) + F.softplus(-score_real) + penalty
    return DiscriminatorLoss(loss, score_real, score_fake, penalty)


def generator_loss(score_fake: Tensor, *, gan: GanSettings) -> Tensor:
    """Compute the loss of the generator, (B,)."""
    score_fake = score_fake.float()
    return -score_fake if gan.loss == "wgan_gp" else F.softplus(-score_fake)
