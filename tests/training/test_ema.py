"""The averaged weights against the closed form of an exponential mean."""

import pytest
import torch
from torch import nn

from histosynth.training.ema import EMA


def test_the_average_follows_a_step_in_the_weights_with_its_half_life() -> None:
    module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)
    ema = EMA(module, halflife=1000)
    nn.init.ones_(module.weight)
    for step in range(100):  # 1000 images: one half-life, well after the ramp
        ema.update(module, images=1_000_000 + 10 * step, batch=10)
    assert ema.weights["weight"].item() == pytest.approx(0.5, abs=1e-5)


def test_early_in_training_the_half_life_is_a_tenth_of_the_images() -> None:

    module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)
    ema = EMA(module, halflife=10**9)
    nn.init.ones_(module.weight)
    ema.update(module, images=1000, batch=100)
    assert ema.weights["weight"].item() == pytest.approx(0.5)


def test_the_average_is_a_copy() -> None:
    module = nn.Linear(2, 2)
    ema = EMA(module, halflife=10)
    before = ema.weights["weight"].clone()
    nn.init.normal_(module.weight)
    torch.testing.assert_close(ema.weights["weight"], before)
