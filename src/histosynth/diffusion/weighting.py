"""How much each noise level counts in the loss of a discrete process, by SNR_t = ᾱ_t / (1 - ᾱ_t).

A weight is defined on the square error of one thing, and multiplies what the network predicts so that the objective
stays the same (`parameterization`): here is what each is, on the mean square errors of ε, of x_0 and of v.

            ε                        x_0                      v
p2          1 / (k + SNR)^γ          SNR / (k + SNR)^γ        SNR / (SNR + 1) / (k + SNR)^γ
min_snr     min(SNR, γ) / SNR        min(SNR, γ)              min(SNR, γ) / (SNR + 1)
uniform     1                        1                        1

`p2` is defined on ε (Choi et al. 2022, eq. 8). It takes weight from the nearly clean images, where the network could
only learn imperceptible detail, and leaves it where content is decided: what Azadi Moghadam et al. 2023 call morphology
levels prioritization. With k = 1 it is (1 - ᾱ_t)^γ; γ = 0 is the simple loss of Ho et al. 2020 whatever is predicted.

`min_snr` is defined on x_0 (Hang et al. 2023, γ = 5): the truth of the bound, SNR, but no more than γ.

`uniform` is no weight, so another objective for each thing predicted: SNR, 1 or SNR + 1 on x_0 (Salimans & Ho 2022, 4).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from histosynth.diffusion.parameterization import PredictionType, square_error_ratio

Weighting = Callable[[Tensor, PredictionType], Tensor]
"""SNR >= 0, and what the network predicts -> what its mean square error is multiplied by, not normalized."""


def p2(snr: Tensor, prediction_type: PredictionType = "epsilon", *, k: float = 1.0, gamma: float = 0.5) -> Tensor:
    """P2: 1 / (k + SNR)^γ on ε."""
    return (k + snr) ** -gamma * (snr / square_error_ratio(prediction_type, snr) if prediction_type != "epsilon" else 1)


def min_snr(snr: Tensor, prediction_type: PredictionType = "x0", *, gamma: float = 5.0) -> Tensor:
    """Min-SNR: min(SNR, γ) on x_0."""
    return snr.clamp(max=gamma) / square_error_ratio(prediction_type, snr)


def uniform(snr: Tensor, prediction_type: PredictionType) -> Tensor:
    """1 on whatever is predicted."""
    return torch.ones_like(snr)
