"""A network that answers what it was told, shared by the tests of denoisers."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn


class Told(nn.Module):
    """Answers what it was told, and remembers what it was asked."""

    null_label = 3

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        self.asked.append((x, time, label))
        return self.answer


@pytest.fixture
def told() -> Callable[[Tensor], Told]:
    torch.manual_seed(0)
    return Told
