"""What a network of the form x = α x_0 + σ ε may predict: the noise ε, the image x_0, or v = α ε - σ x_0.

One tells the others, as x is known; v is that of Salimans & Ho 2022, for α² + σ² = 1. An error in one is an error in
the others as well: with SNR = (α / σ)²,

    |error of ε|² = SNR · |error of x_0|²        |error of v|² = (SNR + 1) · |error of x_0|²

so a weight on one square error is, divided by the ratio of the two, the same weight on another.
"""

from typing import Literal

import torch
from torch import Tensor

PredictionType = Literal["epsilon", "x0", "v"]


def training_target(
    prediction_type: PredictionType, *, x0: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor
) -> Tensor:
    """What the network should answer for the image `x0` and the noise that was added to it."""
    match prediction_type:
        case "epsilon":
            return noise
        case "x0":
            return x0
        case "v":
            return alpha * noise - sigma * x0


def clean_from_output(
    prediction_type: PredictionType, answer: Tensor, *, x: Tensor, alpha: Tensor, sigma: Tensor
) -> Tensor:
    """x̂_0 by the answer of the network to the noisy image `x`."""
    match prediction_type:
        case "epsilon":
            return (x - sigma * answer) / alpha
        case "x0":
            return answer
        case "v":
            return alpha * x - sigma * answer


def square_error_ratio(prediction_type: PredictionType, snr: Tensor) -> Tensor:
    """Square error of the prediction_type that goes with a square error of 1 in x_0."""
    match prediction_type:
        case "epsilon":
            return snr
        case "x0":
            return torch.ones_like(snr)
        case "v":
            return snr + 1
