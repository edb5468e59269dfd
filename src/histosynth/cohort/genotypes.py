"""Parsing of glioma genotypes into three names: IDHmut-codel, IDHmut-non-codel, IDHwt.

The names are those of the TCGA glioma papers (Ceccarelli et al. 2016, "IDH/codel subtype"), to which cBioPortal adds
the study as a prefix (`LGG_IDHmut-codel`). Other tables write IDHC, IDHNC, IDHWT, or words: `IDH mutant, 1p/19q
codeleted`, `IDH-wildtype`. Letter case, spaces and punctuation are ignored. Every form must name IDH, so `wt` and
`codel` alone are not parsed, and a mutant without 1p/19q status is none of the three.
"""

import re
from collections.abc import Iterable

CODEL, NON_CODEL, WILDTYPE = "IDHmut-codel", "IDHmut-non-codel", "IDHwt"

_IDH = r"(?:lgg|gbm)?idh(?:12|1|2)?"  # IDH, IDH1, IDH2, IDH1/2
_MUT = r"(?:mutant|mutated|mutation|mut|m)"
_AND = r"(?:and|with)?"
_CODEL = r"(?:codeleted|codeletion|codel|c)"
_NON = rf"(?:without|non|not|no|n)(?:1p19q)?{_CODEL}"
_FORMS = {
    CODEL: rf"{_IDH}{_MUT}?{_AND}(?:1p19q)?{_CODEL}",
    NON_CODEL: rf"{_IDH}(?:{_MUT}?{_AND}(?:1p19q)?{_NON}|{_MUT}{_AND}(?:1p19q)?intact)",
    WILDTYPE: rf"{_IDH}(?:wildtype|wild|wt)",
}


def parse_genotype(text: str) -> str | None:
    """Return the name of the genotype in `text`; None where it is not a known form."""
    compact = re.sub(r"[\W_]+", "", text.lower())
    return next((name for name, form in _FORMS.items() if re.fullmatch(form, compact)), None)


def genotype_aliases(labels: Iterable[str]) -> dict[str, str]:
    """Return the labels of a column to rename, with their new names; none where the column does not hold genotypes.

    A column holds genotypes if more than half of its distinct labels are known forms. Its other labels stay unchanged.
    """
    parsed = {label: parse_genotype(label) for label in sorted(set(labels))}
    known = {label: name for label, name in parsed.items() if name is not None}
    if 2 * len(known) <= len(parsed):
        return {}
    return {label: name for label, name in known.items() if label != name}
