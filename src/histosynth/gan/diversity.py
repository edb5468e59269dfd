"""Diversity of the generator's images per label, to detect mode collapse.

Diversity is the mean distance between fake images of a label divided by that between real images, measured on coarse
pixels (at most 8 x 8). It is about 1 if fake images vary as much as real ones, and 0 if all are equal. The lowest label
is reported, as a single label may collapse. Pairs are formed within the groups of consecutive images that
`minibatch_stddev` uses, so that the result does not depend on how a batch is split.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from histosynth.gan.layers import STDDEV_GROUP

_COARSE_PX = 8
_HALFLIFE = 250  # images, for a single label; about 200 pairs of each label, for any number of labels


def pair_distances(x: Tensor, label: Tensor, *, labels: int) -> Tensor:
    """Sum the distances between images of the same label within each group of (B, 3, S, S): (labels,)."""
    coarse = F.adaptive_avg_pool2d(x.float(), min(x.shape[-1], _COARSE_PX)).flatten(1)
    size = min(STDDEV_GROUP, len(x))
    first, second = torch.triu_indices(size, size, 1, device=x.device)
    group, group_label = coarse.view(-1, size, coarse.shape[1]), label.view(-1, size)
    distance = (group[:, first] - group[:, second]).square().mean(2).sqrt()
    same = group_label[:, first] == group_label[:, second]
    # Products instead of a selection, whose size a GPU would have to report before the program can continue.
    return distance.new_zeros(labels).index_add(0, group_label[:, first].flatten(), (distance * same).flatten())


class DiversityMonitor:
    """Running means of the distances between fake images and between real images, per label.

    Args:
        labels: number of labels. With many labels few pairs share one, so the half-life is longer.
    """

    def __init__(self, *, labels: int) -> None:
        self.halflife = _HALFLIFE * labels**2
        self.fake = self.real = np.zeros(labels)
        self.weight = 0.0

    def update(self, *, fake: NDArray[np.float64], real: NDArray[np.float64], batch: int) -> None:
        """Add the distances of a batch."""
        keep = 0.5 ** (batch / self.halflife)
        self.fake, self.real = keep * self.fake + fake, keep * self.real + real
        self.weight = keep * self.weight + 1 - keep

    @property
    def ratios(self) -> NDArray[np.float64]:
        """Distances between fake images over real ones, per label; 1 without pairs and in the first half-life."""
        known = (self.real > 0) & (self.weight >= 0.5)
        return np.divide(self.fake, self.real, out=np.ones_like(self.fake), where=known)

    def state(self) -> dict[str, Any]:
        """Return the state for `load`."""
        return {"fake": self.fake.tolist(), "real": self.real.tolist(), "weight": self.weight}

    def load(self, state: dict[str, Any]) -> None:
        """Restore a `state`."""
        self.fake, self.real, self.weight = np.array(state["fake"]), np.array(state["real"]), state["weight"]
