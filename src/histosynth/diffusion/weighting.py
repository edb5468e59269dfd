"""How much each noise level counts in the loss of an epsilon-predicting network.

P2 weighting: w_t = 1 / (k + SNR_t)^γ, SNR_t = ᾱ_t / (1 - ᾱ_t) (Choi et al. 2022, eq. 8). It takes weight from the
nearly clean images, where the network could only learn imperceptible detail, and leaves it where content is decided:
what Azadi Moghadam et al. 2023 call morphology levels prioritization. With k = 1 it is (1 - ᾱ_t)^γ.
"""

from torch import Tensor


def p2(snr: Tensor, *, k: float = 1.0, gamma: float = 0.5) -> Tensor:
    """P2 weights for signal-to-noise ratios `snr` (any shape, >= 0); γ = 0 weighs all alike. Not normalized."""
    return (k + snr) ** -gamma
