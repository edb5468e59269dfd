"""The best model by each measure, and whether intervals distinguish it from the others.

The best result of a column may be best by chance. A model is called distinguishable only if its interval overlaps that
of no other model, and if the real side has enough patients to resample. Where it has not, a note on an interval says so
(`Interval.note`). All models share the real patients, so their results rise and fall together: overlapping intervals
do not show that models are equal.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from histosynth.metrics.uncertainty import Interval
from histosynth.report.comparison import DISTANCES
from histosynth.report.wording import format_result


@dataclass(frozen=True, kw_only=True)
class Best:
    """The models with the best result: several if a table shows the same digits for them."""

    models: list[str]
    distinguishable: bool
    note: str | None = None  # why intervals cannot distinguish models, whatever they are


def best_of(intervals: Mapping[str, Interval], *, measure: str, note: str | None = None) -> Best | None:
    """Return the best of these models by one measure.

    Args:
        intervals: result by model.
        measure: one of `MEASURES`.
        note: why models cannot be distinguished; if given, none is.

    Returns:
        None if there are fewer than two models.
    """
    if len(intervals) < 2:
        return None
    lower = measure in DISTANCES
    top = (min if lower else max)(intervals, key=lambda name: intervals[name].value)
    text = format_result(intervals[top], measure)
    models = [name for name, interval in intervals.items() if format_result(interval, measure) == text]
    others = [interval for name, interval in intervals.items() if name != top]
    separate = all(intervals[top].high < x.low if lower else intervals[top].low > x.high for x in others)
    return Best(models=models, distinguishable=separate and note is None and models == [top], note=note)
