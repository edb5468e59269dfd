"""Does the generator still make different images? Where it makes ever the same, its mode has collapsed.

The mean distance between images of one label, coarse pixels compared (8 a side at most), of fake ones over that of real
ones: about 1 where the fake vary as the real do, 0 where all are the same. Pairs come from the groups of consecutive
images that `minibatch_stddev` compares, so that it does not matter how a batch is cut.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from histosynth.gan.layers import GROUP

_COARSE_PX = 8


def distances(x: Tensor, label: Tensor) -> Tensor:
    """Sum of the distances of the pairs of one label in each group of images (B, 3, S, S)."""
    coarse = F.adaptive_avg_pool2d(x.float(), min(x.shape[-1], _COARSE_PX)).flatten(1)
    size = min(GROUP, len(x))
    first, second = torch.triu_indices(size, size, 1, device=x.device)
    group, kind = coarse.view(-1, size, coarse.shape[1]), label.view(-1, size)
    apart = (group[:, first] - group[:, second]).square().mean(2).sqrt()
    alike = kind[:, first] == kind[:, second]
    return torch.sum(apart * alike)


class Variety:
    """Running means of the distances between fake images and between real ones.

    Args:
        halflife: of the means, in images.
    """

    def __init__(self, *, halflife: float) -> None:
        self.halflife = halflife
        self.fake = self.real = 0.0

    def update(self, *, fake: float, real: float, batch: int) -> None:
        """Take in the distances of a batch."""
        keep = 0.5 ** (batch / self.halflife)
        self.fake, self.real = keep * self.fake + fake, keep * self.real + real

    @property
    def ratio(self) -> float:
        """Of fake over real; 1 where nothing was to be compared."""
        return self.fake / self.real if self.real else 1.0

    def state(self) -> dict[str, float]:
        """What `load` takes."""
        return {"fake": self.fake, "real": self.real}

    def load(self, state: dict[str, float]) -> None:
        """Go on from a `state`."""
        self.fake, self.real = state["fake"], state["real"]
