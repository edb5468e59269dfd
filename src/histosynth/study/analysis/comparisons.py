"""Pairwise comparison of generators: paired by seed and label where possible, otherwise unpaired.

`statistics/generators.py` explains the tests.
"""

from collections.abc import Sequence
from itertools import combinations, takewhile

import numpy as np

from histosynth.study.analysis.readings import Reading
from histosynth.study.analysis.schema import Comparison, ReaderComparison
from histosynth.study.analysis.table import Table
from histosynth.study.statistics.generators import difference, fisher, holm, mcnemar


def comparisons(table: Table) -> list[Comparison]:
    """Compare each pair of generators of which at least one reader read both."""
    pairwise = []
    sources = np.array([facts.source for facts in table.cases])
    origins = {name: _origins(table, name) for name in table.generators}
    for first, second in combinations(origins, 2):
        cases = np.isin(sources, (first, second))
        is_first = sources[cases] == first
        recognized = table.correct[:, cases]
        is_read = ~np.isnan(recognized)
        read = np.array([row[is_first].any() and row[~is_first].any() for row in is_read])
        if not read.any():
            continue
        sides = [(first, origins[first]), (second, origins[second])]
        readers = {
            name: _by_reader(table.of_reader(name), sides)
            for name, both in zip(table.readers, read, strict=True)
            if both
        }
        pairs = max((r.mcnemar.pairs for r in readers.values() if r.mcnemar), default=0)
        note = (
            f"{pairs} pairs of the same seed and label: McNemar's test for each reader"
            if pairs
            else "No patches with the same seed and label, so there are no pairs for McNemar's test"
        )
        pairwise.append((first, second, difference(recognized[read], is_first), readers, note))
    adjusted = holm([entry[2].p for entry in pairwise])
    return [
        Comparison(first=first, second=second, difference=result, p_holm=p, readers=readers, note=note)
        for (first, second, result, readers, note), p in zip(pairwise, adjusted, strict=True)
    ]


def _origins(table: Table, generator: str) -> dict[str, tuple[str, str]]:
    """Return the label and seed from which each case's patch was sampled; the seed is the end of the patch's name.

    Samples are named `<run>_<seed>`; the run is the generator's name, or else the common prefix of all its names.
    """
    own = [facts for facts in table.cases if facts.source == generator]
    prefix = f"{generator}_"
    if not all(facts.patch_id.startswith(prefix) for facts in own):
        ends = min(facts.patch_id for facts in own), max(facts.patch_id for facts in own)
        shared = "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(*ends, strict=False)))
        prefix = shared[: shared.rfind("_") + 1]
    return {facts.case: (facts.label or "", facts.patch_id.removeprefix(prefix)) for facts in own}


def _by_reader(own: Sequence[Reading], sides: Sequence[tuple[str, dict[str, tuple[str, str]]]]) -> ReaderComparison:
    first, second = ({origins[r.case]: r.correct for r in own if r.source == generator} for generator, origins in sides)
    shared = sorted(first.keys() & second.keys())
    return ReaderComparison(
        fisher_p=fisher(list(first.values()), list(second.values())),
        mcnemar=mcnemar([first[key] for key in shared], [second[key] for key in shared]) if shared else None,
    )
