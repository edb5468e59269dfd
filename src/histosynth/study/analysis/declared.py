"""What a study declared before anyone read: the margins that still count as guessing, and the significance level."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from histosynth.errors import HistosynthError

_Level = Annotated[float, Field(gt=0, lt=0.5)]


@dataclass(frozen=True, kw_only=True)
class Declared:
    """The declared margins and significance level."""

    margin: _Level
    """Of equivalence of the accuracy to 1/2."""
    area_margin: _Level
    """Of equivalence of the area under the ROC curve to 1/2."""
    alpha: _Level


def declaration(
    in_study: Declared | None, *, margin: float | None, area_margin: float | None, alpha: float | None
) -> Declared:
    """Return what the study declared, or for a CSV, which does not contain it, what is given.

    Raises:
        HistosynthError: a margin is missing or invalid, or one is given in addition to the declared one.
    """
    if in_study is not None:
        if (margin, area_margin, alpha) != (None, None, None):
            raise HistosynthError(
                f"the study declared its margins ({in_study.margin:g} and {in_study.area_margin:g}) and alpha "
                f"({in_study.alpha:g}) when it was created; omit --margin, --area-margin and --alpha"
            )
        return in_study
    if margin is None or area_margin is None:
        raise HistosynthError(
            "a CSV contains no equivalence margins; pass those that you declared, for example --margin 0.10 "
            "--area-margin 0.14"
        )
    alpha = 0.05 if alpha is None else alpha
    for option, value in (("margin", margin), ("area-margin", area_margin), ("alpha", alpha)):
        if not 0 < value < 0.5:
            raise HistosynthError(f"--{option} {value:g} must be between 0 and 0.5")
    return Declared(margin=margin, area_margin=area_margin, alpha=alpha)
