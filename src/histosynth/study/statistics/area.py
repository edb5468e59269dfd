"""Mean area under the ROC curve over readers, its interval, and its equivalence to guessing.

Each case's placement V_rc is its mean ψ against all cases of the other kind that reader r read (`roc`), and the
reader's area A_r is their mean. To first order, a case contributes d_rc = (V_rc - A_r) / m to A_r, with m cases of its
kind. For the same readers, the variance of the mean area is that of the mean contributions, summed by patient
(`clusters`): for one case per patient DeLong's (1988, Biometrics 44, 837), else Obuchowski's (1997, Biometrics 53,
567).

For readers at large (Obuchowski & Rockette 1995, Commun Stat B 24, 285), with MS the variance of the R readers' areas,
here at least their error variance, and cov the mean covariance of two readers,

    var Ā = MS / R + max(cov, 0),     df = (var Ā)² / ((MS / R)² / (R - 1) + max(cov, 0)² / df_cases)

which are the degrees of freedom of Hillis (2007, Stat Med 26, 596) if there are many patients. Intervals and tests use
Student's t on the logit of A (Pepe 2003, 5.2.4), so they stay within 0 and 1. If nothing varies, or one patient is all
there is, the limits are the exact ones for the number of pairs that share no patient.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from scipy.stats import rankdata, t

from histosynth.study.statistics.clusters import Array, Clusters, variance_of_total
from histosynth.study.statistics.crossed import Scope, Variation, scopes
from histosynth.study.statistics.equivalence import Equivalence, conclude, equivalence
from histosynth.study.statistics.proportion import LEVEL, exact_limits

EXACT = "exact limits of pairs that share no patient"


@dataclass(frozen=True, kw_only=True)
class Area:
    """The mean area over readers, for one scope."""

    scope: Scope
    value: float
    low: float
    high: float
    level: float
    equivalence: Equivalence | None
    """None if no margin was given."""
    note: str | None = None


def pooled_area(
    scores: ArrayLike,
    *,
    synthetic: ArrayLike,
    clusters: ArrayLike | None = None,
    margin: float | None = None,
    alpha: float = 0.05,
    level: float = LEVEL,
) -> list[Area]:
    """Return the mean area of scores (R, C), NaN if missing, for each scope as in `crossed.pooled`.

    Readers who did not read both kinds are left out; empty if all are.

    Args:
        scores: higher if more certainly synthetic.
        synthetic: (C,) the truth.
        clusters: (C,) the patient of each case; each case by itself by default.
        margin: of equivalence to 1/2; without it there is no test.
        alpha: of the equivalence test.
        level: of the interval.
    """
    x, truth = np.asarray(scores, dtype=np.float64), np.asarray(synthetic, dtype=bool)
    read = ~np.isnan(x)
    x = x[read[:, truth].any(axis=1) & read[:, ~truth].any(axis=1)]
    if not len(x):
        return []
    v = area_variation(x, synthetic=truth, clusters=clusters)
    pairs = _pairs(np.any(~np.isnan(x), axis=0), truth, clusters)
    areas = []
    for scope in scopes(len(x)):
        variance, df = v.of(scope)
        spread = None if pairs == 1 or v.estimate in (0.0, 1.0) or not variance else (float(variance), float(df))
        areas.append(_area(scope, float(v.estimate), spread, pairs, margin=margin, alpha=alpha, level=level))
    return areas


def area_variation(scores: ArrayLike, *, synthetic: ArrayLike, clusters: ArrayLike | None = None) -> Variation:
    """Return the mean area of scores (…, R, C) with its variances; every reader read both kinds."""
    x, truth = np.asarray(scores, dtype=np.float64), np.asarray(synthetic, dtype=bool)
    areas, d = _contributions(x, truth)
    groups = Clusters.of(truth.astype(np.int64), clusters)
    d = groups.sum(d)
    read: NDArray[np.bool_] = np.asarray(groups.sum(~np.isnan(x)) > 0, dtype=np.bool_)
    readers = x.shape[-2]
    # The variance of the mean for the same readers, of each reader, and what two readers share.
    same, same_df = variance_of_total(d.mean(axis=-2), np.any(read, axis=-2), groups.kind)
    own = variance_of_total(d, read, groups.kind)[0].mean(axis=-1)
    if readers == 1:
        return Variation(estimate=areas[..., 0], same_readers=same, same_readers_df=same_df, all=same, all_df=same_df)
    with np.errstate(invalid="ignore"):
        common = np.where(np.isfinite(same), (readers * same - own) / (readers - 1), np.inf)
        error = np.where(np.isfinite(same), own - common, 0.0)
    from_readers = np.maximum(areas.var(axis=-1, ddof=1), error) / readers
    from_cases = np.maximum(common, 0.0)
    total = from_readers + from_cases
    with np.errstate(invalid="ignore", divide="ignore"):
        df = total**2 / (from_readers**2 / (readers - 1) + from_cases**2 / same_df)
    return Variation(
        estimate=areas.mean(axis=-1),
        same_readers=same,
        same_readers_df=same_df,
        all=total,
        all_df=np.where(np.isfinite(df), df, 1.0),
    )


def tost_of_area(value: ArrayLike, variance: ArrayLike, df: ArrayLike, *, margin: float) -> Array:
    """Return the p-value of equivalence of an area to 1/2, element by element; 1 where nothing varies."""
    a, variance = np.clip(np.asarray(value), 1e-9, 1 - 1e-9), np.asarray(variance, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.sqrt(variance) / (a * (1 - a))
        p_low = t.sf((logit(a) - logit(0.5 - margin)) / error, df)
        p_high = t.cdf((logit(a) - logit(0.5 + margin)) / error, df)
    return np.where(variance > 0, np.maximum(p_low, p_high), 1.0)


def _contributions(x: Array, truth: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return the areas (…, R) and the contribution of each case, (…, R, C); 0 where it was not read."""
    count = ~np.isnan(x)
    rank = rankdata(x, axis=-1, nan_policy="omit")
    d, areas = np.zeros(x.shape), np.zeros(x.shape[:-1])
    for kind in (False, True):
        cases = truth == kind
        others = count[..., ~cases].sum(axis=-1, keepdims=True)
        below = (rank[..., cases] - rankdata(x[..., cases], axis=-1, nan_policy="omit")) / others
        placement = below if kind else 1 - below
        number = count[..., cases].sum(axis=-1)
        areas = np.nansum(placement, axis=-1) / number  # equal for both kinds
        d[..., cases] = np.nan_to_num((placement - areas[..., None]) / number[..., None])
    return areas, d


def _pairs(read: NDArray[np.bool_], truth: NDArray[np.bool_], clusters: ArrayLike | None) -> int:
    patient = np.arange(len(truth)) if clusters is None else np.asarray(clusters)
    return min(len(np.unique(patient[read & (truth == kind)])) for kind in (False, True))


def _area(
    scope: Scope, value: float, spread: tuple[float, float] | None, pairs: int, *, margin: float | None, alpha: float,
    level: float,
) -> Area:  # fmt: skip
    test = None
    if spread is None:
        low, high = (float(limit) for limit in exact_limits(value * pairs, pairs, level=level))
        if margin is not None:
            test = equivalence(value * pairs, pairs, margin=margin, alpha=alpha)
        return Area(scope=scope, value=value, low=low, high=high, level=level, equivalence=test, note=EXACT)
    low, high = _limits(value, *spread, level=level)
    if margin is not None:
        p = float(tost_of_area(value, *spread, margin=margin))
        z = float(logit(value)) * value * (1 - value) / spread[0] ** 0.5
        p_guessing = float(2 * t.sf(abs(z), spread[1]))
        at_alpha = _limits(value, *spread, level=1 - 2 * alpha)
        test = Equivalence(
            conclusion=conclude(p, p_guessing, alpha=alpha), p=p, p_guessing=p_guessing, low=at_alpha[0],
            high=at_alpha[1], margin=margin, alpha=alpha,
        )  # fmt: skip
    return Area(scope=scope, value=value, low=low, high=high, level=level, equivalence=test)


def _limits(value: float, variance: float, df: float, *, level: float) -> tuple[float, float]:
    reach = float(t.ppf((1 + level) / 2, df)) * variance**0.5 / (value * (1 - value))
    return float(expit(logit(value) - reach)), float(expit(logit(value) + reach))
