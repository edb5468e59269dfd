"""The extreme cases: the most and the least convincing synthetic patches, and the real patches that were mistaken."""

import numpy as np

from histosynth.study.analysis.schema import Patches, PatchFacts
from histosynth.study.analysis.table import Table

MAX_PATCHES = 6
"""Patches at each end of the scale."""


def extreme_cases(table: Table) -> Patches:
    """Return the extreme cases by mean signed confidence over readers, each only on its side of zero."""
    mean, count = np.nanmean(table.score, axis=0), (~np.isnan(table.score)).sum(axis=0)
    said_synthetic = np.nansum(table.said_synthetic, axis=0)
    comments: dict[str, list[str]] = {}
    for reading in table.readings:
        if reading.comment:
            comments.setdefault(reading.case, []).append(reading.comment)
    patches = [
        PatchFacts(
            case=facts.case,
            patch_id=facts.patch_id,
            label=facts.label,
            truth=facts.truth,
            source=facts.source,
            score=float(mean[i]),
            said_synthetic=int(said_synthetic[i]),
            readings=int(count[i]),
            comments=comments.get(facts.case, []),
        )
        for i, facts in enumerate(table.cases)
    ]
    synthetic = sorted((p for p in patches if p.truth == "synthetic"), key=lambda p: p.score)
    real = sorted((p for p in patches if p.truth == "real"), key=lambda p: -p.score)
    return Patches(
        most_convincing=[p for p in synthetic[:MAX_PATCHES] if p.score < 0],
        least_convincing=[p for p in synthetic[::-1][:MAX_PATCHES] if p.score > 0],
        mistaken=[p for p in real[:MAX_PATCHES] if p.score > 0],
    )
