"""Confidence on synthetic and on real patches: the paper's second finding, on an ordinal scale.

Always reported, and without a model: how often a synthetic patch got more confidence than a real one from the same
reader, a tie counting half (1/2: equal confidence in both). This is the area under the ROC curve of confidence, so its
mean over readers has the interval of `area`: for readers at large from `MIN_READERS_AT_LARGE` readers on, else for
these readers.

With `MIN_CLUSTERS` readers or more, also the proportional odds ratio of higher confidence on synthetic patches, by
generalized estimating equations with the reader as cluster (Heagerty & Zeger 1996, JASA 91, 1024; Mancl & DeRouen 2001,
Biometrics 57, 126, for few clusters): below 1 if readers are less confident on synthetic patches. Its standard error
rests on differences between readers and is too small with fewer clusters, so it is not reported then. It holds for
other readers of the same cases.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from histosynth.metrics.uncertainty import Interval
from histosynth.study.statistics.area import Area, pooled_area
from histosynth.study.statistics.proportion import LEVEL

MIN_CLUSTERS = 10


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """Confidence on real and on synthetic patches."""

    mean_real: float | None
    mean_synthetic: float | None
    counts_real: list[int]
    """Readings at each confidence, 1 to 5."""
    counts_synthetic: list[int]
    synthetic_above_real: Area | None
    """Probability of more confidence on a synthetic than on a real patch; None if no reader read both kinds."""
    odds_ratio: Interval | None
    """Of higher confidence on synthetic patches (ordinal GEE); None with few readers, or if the fit failed."""
    p: float | None
    note: str
    """Which model was used, and why."""


def confidence(
    values: ArrayLike, synthetic: ArrayLike, *, clusters: ArrayLike | None = None, level: float = LEVEL
) -> Confidence:
    """Compare confidences (R, C), 1 to 5 or NaN if missing, on synthetic and on real cases (C,) of patients (C,)."""
    x, truth = np.asarray(values, dtype=np.float64), np.asarray(synthetic, dtype=bool)
    odds, p, note = (
        None,
        None,
        f"fewer than {MIN_CLUSTERS} readers: no model across readers, only a comparison within each reader",
    )
    if len(x) >= MIN_CLUSTERS:
        odds, p, note = _odds_ratio(x, truth, level=level)
    real, fake = x[:, ~truth], x[:, truth]
    return Confidence(
        mean_real=None if np.isnan(real).all() else float(np.nanmean(real)),
        mean_synthetic=None if np.isnan(fake).all() else float(np.nanmean(fake)),
        counts_real=[int((real == k).sum()) for k in range(1, 6)],
        counts_synthetic=[int((fake == k).sum()) for k in range(1, 6)],
        synthetic_above_real=next(iter(pooled_area(x, synthetic=truth, clusters=clusters, level=level)), None),
        odds_ratio=odds,
        p=p,
        note=note,
    )


def _odds_ratio(
    x: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    truth: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    *,
    level: float,
) -> tuple[Interval | None, float | None, str]:
    from histosynth.study import require

    require("statsmodels")
    from statsmodels.genmod.cov_struct import Independence
    from statsmodels.genmod.generalized_estimating_equations import OrdinalGEE

    reader, case = np.nonzero(~np.isnan(x))
    answers, kind = x[reader, case], truth[case].astype(np.float64)
    if len(np.unique(answers)) < 2 or len(np.unique(kind)) < 2:
        return None, None, "no ordinal model: all answers are alike, or all patches are of one kind"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `converged` and the standard error show the problem
        try:
            fit = OrdinalGEE(answers, kind[:, None], reader, cov_struct=Independence()).fit(cov_type="bias_reduced")
        except (np.linalg.LinAlgError, ValueError):
            return None, None, "the ordinal model did not fit"
    slope, error = float(np.asarray(fit.params)[-1]), float(np.asarray(fit.bse)[-1])
    if not (fit.converged and np.isfinite(slope) and error > 0):
        return None, None, "the ordinal model did not fit"
    df = len(x) - 1
    reach = float(stats.t.ppf((1 + level) / 2, df)) * error
    low, value, high = (float(v) for v in np.exp(slope + np.array([-reach, 0.0, reach])))
    p = float(2 * stats.t.sf(abs(slope) / error, df))
    note = "ordinal GEE with the reader as cluster, standard error corrected for few clusters"
    return Interval(value=value, low=low, high=high, level=level), p, note
