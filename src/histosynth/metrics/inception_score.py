"""Inception Score: classes that are certain for each image and many over all of them (Salimans et al. 2016).

IS = exp E_x KL(p(y|x) ‖ p(y)) = exp(H(mean p) - mean H(p)),    from 1 to the number of classes

It is taken over splits of the images, whose mean and standard deviation are reported. The splits differ between
implementations, and the score grows with their size: ADM's evaluator takes 5000 images each and leaves the rest to a
last, smaller one (`adm_splits`); torch-fidelity and the original take 10 of equal size (`even_splits`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_softmax, xlogy

from histosynth.errors import HistosynthError
from histosynth.metrics.features import feature_array


@dataclass(frozen=True, kw_only=True)
class InceptionScore:
    """Mean and standard deviation (divisor: their number) over splits."""

    mean: float
    deviation: float
    splits: int


def even_splits(images: int, *, count: int = 10) -> list[slice]:
    """`count` splits whose sizes differ by one at most.

    Raises:
        HistosynthError: fewer images than splits.
    """
    if not 1 <= count <= images:
        raise HistosynthError(f"{images} images do not fill {count} splits; add images or take fewer splits")
    return [slice(i * images // count, (i + 1) * images // count) for i in range(count)]


def adm_splits(images: int, *, size: int = 5000) -> list[slice]:
    """Splits of `size` images, the last of what is left."""
    return [slice(start, min(start + size, images)) for start in range(0, images, size)]


def inception_score(
    logits: ArrayLike, *, splits: Sequence[slice], rng: np.random.Generator | None = None
) -> InceptionScore:
    """Inception Score of logits (N, K), or of the logarithms of probabilities.

    Images that lie in the order of their labels must be shuffled first, or every split sees few classes: give `rng`.

    Raises:
        HistosynthError: logits that are not finite, or no split.
    """
    x = feature_array(logits, name="classifier's output", least=1, reason="an Inception Score").astype(np.float64)
    if not splits:
        raise HistosynthError("an Inception Score needs one split or more, found none")
    x = x if rng is None else x[rng.permutation(len(x))]
    log_p = log_softmax(x, axis=1)
    scores = []
    for split in splits:
        p = np.exp(log_p[split])
        certainty = np.sum(p * log_p[split], axis=1).mean()  # -H(p), the mean of it
        mean = p.mean(axis=0)
        scores.append(np.exp(certainty - np.sum(xlogy(mean, mean))))
    return InceptionScore(mean=float(np.mean(scores)), deviation=float(np.std(scores)), splits=len(splits))
