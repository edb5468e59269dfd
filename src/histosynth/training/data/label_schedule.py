"""The label at each position of training, and its count before that position: a round of labels, repeated.

A round contains label k n_k times, with n_k proportional to its share and at least 1. Its occurrences are spread
evenly: occurrence j of n_k lies at (j + 1/2) / n_k of the round. One round is therefore enough to compute the label at
any position, and its count up to there.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_ROUND = 1000  # positions of a round with unequal shares, about


class LabelSchedule:
    """Repeated rounds of labels.

    Args:
        shares: relative frequency of each label, > 0. With equal shares, a round has one position per label, otherwise
            about a thousand positions, so that shares hold to a tenth of a percent.
    """

    def __init__(self, shares: Sequence[float]) -> None:
        share = np.asarray(shares, dtype=np.float64)
        if (share == share[0]).all():
            self.counts = np.ones(len(share), np.int64)
        else:
            exact = share / share.sum() * _ROUND
            self.counts = np.maximum(np.floor(exact).astype(np.int64), 1)
            remaining = max(_ROUND - int(self.counts.sum()), 0)
            self.counts[np.argsort(self.counts - exact, kind="stable")[:remaining]] += 1
        label = np.repeat(np.arange(len(share)), self.counts)
        before = np.concatenate([np.arange(n) for n in self.counts])
        order = np.argsort((before + 0.5) / self.counts[label], kind="stable")
        self._label, self._before = label[order], before[order]

    def at(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the label at each position, and the count of that label before it."""
        round_, place = np.divmod(positions, len(self._label))
        label = self._label[place]
        return label, round_ * self.counts[label] + self._before[place]
