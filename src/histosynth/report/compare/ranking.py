"""Which model a measure favors, and whether the intervals let one say so.

The best figure of a column may be best by chance. It is told apart only where its interval overlaps that of no other
model, and the real side has enough patients to resample: where it has not, a note on an interval says so
(`Interval.note`), and the intervals of precision and density, which hold the real side fixed, say no more than the
others. Models share the real patients, so their figures rise and fall together: intervals that overlap do not show that
models are equal.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from histosynth.metrics.uncertainty import Interval
from histosynth.report.comparison import DISTANCES
from histosynth.report.wording import format_result


@dataclass(frozen=True, kw_only=True)
class Best:
    """The models with the best figure; several where tables show the same digits for them."""

    models: list[str]
    distinguishable: bool
    note: str | None = None  # why no intervals could tell them apart, whatever they are


def best_of(found: Mapping[str, Interval], *, measure: str, note: str | None = None) -> Best | None:
    """The best of these models by one measure; None where there are not two. A `note` forbids to tell them apart."""
    if len(found) < 2:
        return None
    lower = measure in DISTANCES
    top = (min if lower else max)(found, key=lambda name: found[name].value)
    models = [
        name
        for name, interval in found.items()
        if format_result(interval, measure) == format_result(found[top], measure)
    ]
    others = [interval for name, interval in found.items() if name != top]
    clear = all(found[top].high < x.low if lower else found[top].low > x.high for x in others)
    return Best(models=models, distinguishable=clear and note is None and models == [top], note=note)
