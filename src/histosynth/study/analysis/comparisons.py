"""Each generator against each other: what pairs by seed and label, and what is compared without pairs.

The tests, and why, are in `statistics/generators.py`.
"""

from collections.abc import Sequence
from itertools import combinations, takewhile

import numpy as np

from histosynth.study.analysis.readings import Reading
from histosynth.study.analysis.schema import Comparison, ReaderComparison
from histosynth.study.analysis.table import Table
from histosynth.study.statistics.generators import difference, fisher, holm, mcnemar


def comparisons(table: Table) -> list[Comparison]:
    """Of all pairs of generators that some reader read both of."""
    found = []
    sources = np.array([facts.source for facts in table.cases])
    origins = {name: _origins(table, name) for name in table.generators}
    for first, second in combinations(origins, 2):
        cases = np.isin(sources, (first, second))
        is_first = sources[cases] == first
        recognized = table.correct[:, cases]
        there = ~np.isnan(recognized)
        read = np.array([row[is_first].any() and row[~is_first].any() for row in there])
        if not read.any():
            continue
        sides = [(first, origins[first]), (second, origins[second])]
        readers = {
            name: _by_reader(table.of_reader(name), sides)
            for name, both in zip(table.readers, read, strict=True)
            if both
        }
        pairs = max((r.mcnemar.pairs for r in readers.values() if r.mcnemar), default=0)
        paired = (
            f"{pairs} pairs of the same seed and label: McNemar for each reader"
            if pairs
            else "No patches of the same seed and label, so nothing pairs: no McNemar test"
        )
        found.append((first, second, difference(recognized[read], is_first), readers, paired))
    adjusted = holm([entry[2].p for entry in found])
    return [
        Comparison(first=first, second=second, difference=apart, p_holm=p, readers=readers, note=note)
        for (first, second, apart, readers, note), p in zip(found, adjusted, strict=True)
    ]


def _origins(table: Table, generator: str) -> dict[str, tuple[str, str]]:
    """By case what a patch was made from: its label, and its seed, which is what is left of its name.

    Samples are named `<run>_<seed>`; the run is the name of the generator, or else what all its names begin with.
    """
    own = [facts for facts in table.cases if facts.source == generator]
    prefix = f"{generator}_"
    if not all(facts.patch_id.startswith(prefix) for facts in own):
        ends = min(facts.patch_id for facts in own), max(facts.patch_id for facts in own)
        shared = "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(*ends, strict=False)))
        prefix = shared[: shared.rfind("_") + 1]
    return {facts.case: (facts.label or "", facts.patch_id.removeprefix(prefix)) for facts in own}


def _by_reader(own: Sequence[Reading], sides: Sequence[tuple[str, dict[str, tuple[str, str]]]]) -> ReaderComparison:
    one, other = ({origins[r.case]: r.correct for r in own if r.source == generator} for generator, origins in sides)
    shared = sorted(one.keys() & other.keys())
    return ReaderComparison(
        fisher_p=fisher(list(one.values()), list(other.values())),
        mcnemar=mcnemar([one[key] for key in shared], [other[key] for key in shared]) if shared else None,
    )
