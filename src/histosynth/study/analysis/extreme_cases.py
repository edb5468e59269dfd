"""The patches at the ends of the scale: those that convinced most and least, for a person to look at."""

import numpy as np

from histosynth.study.analysis.schema import Patches, PatchFacts
from histosynth.study.analysis.table import Table

SHOWN = 6
"""Patches at each end."""


def extreme_cases(table: Table) -> Patches:
    """By mean signed confidence over readers; only such as readers leaned to that side."""
    mean, count = np.nanmean(table.score, axis=0), (~np.isnan(table.score)).sum(axis=0)
    said = np.nansum(table.said_synthetic, axis=0)
    comments: dict[str, list[str]] = {}
    for reading in table.readings:
        if reading.comment:
            comments.setdefault(reading.case, []).append(reading.comment)
    every = [
        PatchFacts(
            case=facts.case,
            patch_id=facts.patch_id,
            label=facts.label,
            truth=facts.truth,
            source=facts.source,
            score=float(mean[i]),
            said_synthetic=int(said[i]),
            readings=int(count[i]),
            comments=comments.get(facts.case, []),
        )
        for i, facts in enumerate(table.cases)
    ]
    synthetic = sorted((p for p in every if p.truth == "synthetic"), key=lambda p: p.score)
    real = sorted((p for p in every if p.truth == "real"), key=lambda p: -p.score)
    return Patches(
        most_convincing=[p for p in synthetic[:SHOWN] if p.score < 0],
        least_convincing=[p for p in synthetic[::-1][:SHOWN] if p.score > 0],
        mistaken=[p for p in real[:SHOWN] if p.score > 0],
    )
