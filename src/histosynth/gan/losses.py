"""What the two networks of a GAN are trained on; each loss is of an image, as is the penalty in it.

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

_TINY = 1e-12  # so that a slope of 0 has a derivative
Critic = Callable[[Tensor], Tensor]
"""Scores (B,) of images (B, 3, S, S)."""


class DiscriminatorLoss(NamedTuple):
    """Of each image, (B,): the loss, the scores in it, and the penalty as it enters the loss."""

    loss: Tensor
    score_real: Tensor
    score_fake: Tensor
    penalty: Tensor


def scores_and_squared_gradients(critic: Critic, x: Tensor) -> tuple[Tensor, Tensor]:
    """Scores of images, and the squared norm of each image's gradient, itself differentiable: (B,) each."""
    x = x.detach().requires_grad_()
    scores = critic(x)
    (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    return scores, gradient.float().square().sum((1, 2, 3))


def discriminator_loss(
    critic: Critic, real: Tensor, fake: Tensor, *, mix: Tensor, gan: GanSettings
) -> DiscriminatorLoss:
    """The loss of the discriminator.

    Args:
        critic: the discriminator at its state of growth, given the labels.
        real: (B, 3, S, S).
        fake: (B, 3, S, S), of the same labels.
        mix: (B,) in [0, 1], the share of the fake in the mixed image; for `wgan_gp`.
        gan: which loss, and its constants.
    """
    if gan.loss == "wgan_gp":
        score_real, score_fake = critic(real).float(), critic(fake).float()
        _, slope = scores_and_squared_gradients(critic, torch.lerp(real, fake, mix.view(-1, 1, 1, 1)))
        penalty = gan.gp_lambda * ((slope + _TINY).sqrt() - 1).square() + gan.drift * score_real.square()
        return DiscriminatorLoss(score_fake - score_real + penalty, score_real, score_fake, penalty)
    scores, slope = scores_and_squared_gradients(critic, real)
    score_real, score_fake = scores.float(), critic(fake).float()
    penalty = gan.r1_gamma / 2 * slope
    loss = F.softplus(score_fake) + F.softplus(-score_real) + penalty
    return DiscriminatorLoss(loss, score_real, score_fake, penalty)


def generator_loss(score_fake: Tensor, *, gan: GanSettings) -> Tensor:
    """The loss of the generator, (B,)."""
    score_fake = score_fake.float()
    return -score_fake if gan.loss == "wgan_gp" else F.softplus(-score_fake)
