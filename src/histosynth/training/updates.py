"""Values of updates that stay on the device until they are logged, because a GPU would have to be waited for."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor

from histosynth.training.launch import sum_over_processes


class Update(NamedTuple):
    """What an update of the weights leaves on the device."""

    seen: int
    """Images before the step."""
    network: str
    """Name of the network."""
    sums: dict[str, Tensor]
    """Values to log, summed over the images of this process, among them `loss`."""
    norm: Tensor
    """Norm of the gradient, equal on all processes."""
    losses: Tensor
    """Loss of each image of this process."""


class Updates:
    """The updates since the last call of `read`, which all processes must call after the same step."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator, self._pending = accelerator, list[tuple[Update, Tensor]]()

    @property
    def pending(self) -> int:
        """Number of updates that have not been read."""
        return len(self._pending)

    def add(self, update: Update) -> None:
        """Keep an update."""
        self._pending.append((update, torch.stack(list(update.sums.values()))))

    def read(self) -> Iterator[tuple[Update, dict[str, float], float]]:
        """Yield the updates, the oldest first, with sums over all processes and the norm; this waits for the device."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        totals = sum_over_processes(self._accelerator, torch.cat([sums for _, sums in pending]))
        norms = torch.stack([update.norm for update, _ in pending])
        values = iter(torch.cat([totals, norms.to(totals)]).tolist())
        sums = [{name: next(values) for name in update.sums} for update, _ in pending]
        for (update, _), own in zip(pending, sums, strict=True):
            yield update, own, next(values)
