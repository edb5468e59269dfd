"""Prediction types of a process x = α x_0 + σ ε: the noise ε, the image x_0, or v = α ε - σ x_0.

As x is known, each determines the others; v is defined by Salimans & Ho 2022 for α² + σ² = 1. The square errors are
related as well: with SNR = (α / σ)²,

    |error of ε|² = SNR · |error of x_0|²        |error of v|² = (SNR + 1) · |error of x_0|².

A weight on one square error, divided by the ratio of the two errors, is the equivalent weight on the other.
"""

from typing import Literal

import torch
from torch import Tensor

PredictionType = Literal["epsilon", "x0", "v"]


def training_target(
    prediction_type: PredictionType, *, x0: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor
) -> Tensor:
    """Return the target of the network for the image `x0` and the noise added to it."""
    match prediction_type:
        case "epsilon":
            return noise
        case "x0":
            return x0
        case "v":
            return alpha * noise - sigma * x0


def clean_from_output(
    prediction_type: PredictionType, output: Tensor, *, x: Tensor, alpha: Tensor, sigma: Tensor
) -> Tensor:
    """Compute x̂_0 from the network's output for the noisy image `x`."""
    match prediction_type:
        case "epsilon":
            return (x - sigma * output) / alpha
        case "x0":
            return output
        case "v":
            return alpha * x - sigma * output


def square_error_ratio(prediction_type: PredictionType, snr: Tensor) -> Tensor:
    """Return the square error of the predicted quantity that corresponds to a square error of 1 in x_0."""
    match prediction_type:
        case "epsilon":
            return snr
        case "x0":
            return torch.ones_like(snr)
        case "v":
            return snr + 1
