"""Which label stands at which position of training, and how many of it came before: a round of turns, again and again.

A round has n_k turns of label k, n_k in proportion to its share and at least 1, spread evenly: turn j of n_k stands at
(j + 1/2) / n_k of the round. So the label at any position, and its count up to there, need no more than one round.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_TURNS = 1000


class LabelSchedule:
    """Rounds of labels.

    Args:
        shares: how often to show each label against the others, > 0. Where all are equal a round has one turn each;
            else about a thousand, so that shares hold to a tenth of a percent.
    """

    def __init__(self, shares: Sequence[float]) -> None:
        share = np.asarray(shares, dtype=np.float64)
        if (share == share[0]).all():
            self.counts = np.ones(len(share), np.int64)
        else:
            exact = share / share.sum() * _TURNS
            self.counts = np.maximum(np.floor(exact).astype(np.int64), 1)
            left = max(_TURNS - int(self.counts.sum()), 0)
            self.counts[np.argsort(self.counts - exact, kind="stable")[:left]] += 1
        label = np.repeat(np.arange(len(share)), self.counts)
        before = np.concatenate([np.arange(n) for n in self.counts])
        order = np.argsort((before + 0.5) / self.counts[label], kind="stable")
        self._label, self._before = label[order], before[order]

    def at(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The label at each position, and how many of that label stand before it."""
        round_, turn = np.divmod(positions, len(self._label))
        label = self._label[turn]
        return label, round_ * self.counts[label] + self._before[turn]
