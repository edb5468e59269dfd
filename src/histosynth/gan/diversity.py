"""Does the generator still make different images of every label? Where it makes ever the same, its mode has collapsed.

The mean distance between images of a label, coarse pixels compared (8 a side at most), of fake ones over that of real
ones: about 1 where the fake vary as the real do, 0 where all are the same. The label that varies least counts, for one
may collapse alone. Pairs come from the groups of consecutive images that `minibatch_stddev` compares, so that it does
not matter how a batch is cut.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from histosynth.gan.layers import STDDEV_GROUP

_COARSE_PX = 8
_HALFLIFE = 250  # images, for a single label; some 200 pairs of each label, however many there are


def pair_distances(x: Tensor, label: Tensor, *, labels: int) -> Tensor:
    """Sum of the distances of the pairs of each label (labels,) in each group of images (B, 3, S, S)."""
    coarse = F.adaptive_avg_pool2d(x.float(), min(x.shape[-1], _COARSE_PX)).flatten(1)
    size = min(STDDEV_GROUP, len(x))
    first, second = torch.triu_indices(size, size, 1, device=x.device)
    group, kind = coarse.view(-1, size, coarse.shape[1]), label.view(-1, size)
    apart = (group[:, first] - group[:, second]).square().mean(2).sqrt()
    alike = kind[:, first] == kind[:, second]
    return apart.new_zeros(labels).index_add(0, kind[:, first][alike], apart[alike])


class DiversityMonitor:
    """Running means of the distances between fake images and between real ones, of each label.

    Args:
        labels: how many there are. Few pairs are of one label where there are many, so the means last the longer.
    """

    def __init__(self, *, labels: int) -> None:
        self.halflife = _HALFLIFE * labels**2
        self.fake = self.real = np.zeros(labels)
        self.weight = 0.0

    def update(self, *, fake: NDArray[np.float64], real: NDArray[np.float64], batch: int) -> None:
        """Take in the distances of a batch."""
        keep = 0.5 ** (batch / self.halflife)
        self.fake, self.real = keep * self.fake + fake, keep * self.real + real
        self.weight = keep * self.weight + 1 - keep

    @property
    def ratios(self) -> NDArray[np.float64]:
        """Of fake over real, of each label; 1 where nothing was to be compared, and in the first half-life."""
        known = (self.real > 0) & (self.weight >= 0.5)
        return np.divide(self.fake, self.real, out=np.ones_like(self.fake), where=known)

    def state(self) -> dict[str, Any]:
        """What `load` takes."""
        return {"fake": self.fake.tolist(), "real": self.real.tolist(), "weight": self.weight}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.fake, self.real, self.weight = np.array(state["fake"]), np.array(state["real"]), state["weight"]
