"""Inception Score: high if classes are certain for each image and varied over all images (Salimans et al. 2016).

IS = exp E_x KL(p(y|x) ‖ p(y)) = exp(H(mean p) - mean H(p)),    from 1 to the number of classes

It is computed on splits of the images; their mean and standard deviation are reported. The splits differ between
implementations, and the score grows with their size: ADM's evaluator uses splits of 5000 images and a smaller last one
for the rest (`adm_splits`); torch-fidelity and the original use 10 splits of equal size (`even_splits`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, xlogy

from histosynth.errors import HistosynthError
from histosynth.metrics.features import Features, FeaturesLike, require_images


@dataclass(frozen=True, kw_only=True)
class InceptionScore:
    """Mean and standard deviation (divisor: their number) over splits."""

    mean: float
    deviation: float
    splits: int


def even_splits(images: int, *, count: int = 10) -> list[slice]:
    """Return `count` splits whose sizes differ by at most one.

    Raises:
        HistosynthError: there are fewer images than splits.
    """
    if not 1 <= count <= images:
        raise HistosynthError(f"{images} images do not fill {count} splits; add images or use fewer splits")
    return [slice(i * images // count, (i + 1) * images // count) for i in range(count)]


def adm_splits(images: int, *, size: int = 5000) -> list[slice]:
    """Return splits of `size` images; the last holds the rest."""
    return [slice(start, min(start + size, images)) for start in range(0, images, size)]


def inception_score(
    logits: FeaturesLike, *, splits: Sequence[slice], rng: np.random.Generator | None = None
) -> InceptionScore:
    """Return the Inception Score of logits (N, K), or of the logarithms of probabilities.

    Pass `rng` to shuffle images that are sorted by label; otherwise each split holds few classes.

    Raises:
        HistosynthError: logits are not finite, or there is no split.
    """
    valid = Features.of(logits, name="logits")
    require_images(valid, minimum=1, purpose="an Inception Score")
    x = valid.values.astype(np.float64)
    if not splits:
        raise HistosynthError("an Inception Score needs one split or more, found none")
    x = x if rng is None else x[rng.permutation(len(x))]
    log_p = log_softmax(x, axis=1)
    scores = []
    for split in splits:
        p = np.exp(log_p[split])
        certainty = np.sum(p * log_p[split], axis=1).mean()  # mean of -H(p)
        mean = p.mean(axis=0)
        scores.append(np.exp(certainty - np.sum(xlogy(mean, mean))))
    return InceptionScore(mean=float(np.mean(scores)), deviation=float(np.std(scores)), splits=len(splits))
