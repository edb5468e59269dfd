"""Loss weights of a discrete process by noise level, as functions of SNR_t = ᾱ_t / (1 - ᾱ_t).

A weight is defined on the square error of one quantity. For other prediction types it is converted so that the
objective stays the same (`parameterization`). The weights on the mean square errors of ε, x_0 and v are:

            ε                        x_0                      v
p2          1 / (k + SNR)^γ          SNR / (k + SNR)^γ        SNR / (SNR + 1) / (k + SNR)^γ
min_snr     min(SNR, γ) / SNR        min(SNR, γ)              min(SNR, γ) / (SNR + 1)
uniform     1                        1                        1

`p2` is defined on ε (Choi et al. 2022, eq. 8). It reduces the weight of nearly clean images, which teach the network
only imperceptible detail, relative to the noise levels that determine content. Azadi Moghadam et al. 2023 call this
morphology levels prioritization. With k = 1 it equals (1 - ᾱ_t)^γ; γ = 0 is the simple loss of Ho et al. 2020 for every
prediction type.

`min_snr` is defined on x_0 (Hang et al. 2023, γ = 5): SNR, the equivalent of uniform weights on ε, limited to γ.

`uniform` does not weight, so each prediction type has another objective: SNR, 1 or SNR + 1 on x_0 (Salimans & Ho 2022,
section 4).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from histosynth.diffusion.parameterization import PredictionType, square_error_ratio

Weighting = Callable[[Tensor, PredictionType], Tensor]
"""A map from SNR >= 0 and the prediction type to the factor of its mean square error, not normalized."""


def p2(snr: Tensor, prediction_type: PredictionType = "epsilon", *, k: float = 1.0, gamma: float = 0.5) -> Tensor:
    """Compute P2: 1 / (k + SNR)^γ on ε."""
    return (k + snr) ** -gamma * (snr / square_error_ratio(prediction_type, snr) if prediction_type != "epsilon" else 1)


def min_snr(snr: Tensor, prediction_type: PredictionType = "x0", *, gamma: float = 5.0) -> Tensor:
    """Compute min-SNR: min(SNR, γ) on x_0."""
    return snr.clamp(max=gamma) / square_error_ratio(prediction_type, snr)


def uniform(snr: Tensor, prediction_type: PredictionType) -> Tensor:
    """Return 1 for every prediction type."""
    return torch.ones_like(snr)
